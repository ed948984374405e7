// Small line charts as SVG.

const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function path(xs, ys) {
  let pen = "M";
  let d = "";
  xs.forEach((x, i) => {
    if (ys[i] === null) {
      pen = "M"; // a gap where a value is missing
      return;
    }
    d += `${pen}${x.toFixed(1)} ${ys[i].toFixed(1)}`;
    pen = "L";
  });
  return d;
}

const present = (values) => values.filter((value) => value !== null && Number.isFinite(value));

function sparkScale(values) {
  const known = present(values);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  return {
    x: (_, i) => 1 + (98 * i) / Math.max(1, values.length - 1),
    y: (value) => (value === null ? null : 27 - (24 * (value - low)) / (high - low || 1)),
  };
}

/** A curve without axes, the height of two lines of text. */
export function sparkline(values, colour, label) {
  const svg = element("svg", { class: "spark", viewBox: "0 0 100 30", preserveAspectRatio: "none", role: "img", "aria-label": label });
  if (present(values).length === 0) return svg;
  const { x, y } = sparkScale(values);
  svg.append(
    element("path", { d: path(values.map(x), values.map(y)), fill: "none", stroke: colour, "stroke-width": 2, "vector-effect": "non-scaling-stroke", "stroke-linejoin": "round" }),
  );
  return svg;
}

/** Put the marker of a sparkline on one of its values; none where there is no such value. */
export function markSparkline(svg, values, index, colour) {
  svg.querySelector(".marker")?.remove();
  if (!Number.isFinite(values[index])) return;
  const { x, y } = sparkScale(values);
  // A line without length and with round ends: a dot that the stretched picture does not distort
  svg.append(
    element("path", { class: "marker", d: `M${x(0, index)} ${y(values[index])}h0`, stroke: colour, "stroke-width": 9, "stroke-linecap": "round", "vector-effect": "non-scaling-stroke" }),
  );
}

function roundTicks(low, high) {
  const rough = (high - low) / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough);
  const ticks = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-6; tick += step) ticks.push(tick);
  return ticks;
}

function logTicks(low, high) {
  const all = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const factor of [1, 2, 5]) all.push(factor * 10 ** power);
  }
  const inside = all.filter((tick) => tick >= low && tick <= high);
  const decades = inside.filter((tick) => Number.isInteger(Math.round(Math.log10(tick) * 1e9) / 1e9));
  return inside.length > 7 && decades.length > 1 ? decades : inside;
}

/**
 * Lines named at their ends; `width` in CSS pixels, so that text keeps its size.
 * @param {{name: string, colour: string, dashes: number[], xs: number[], ys: (number|null)[]}[]} lines
 */
export function lineChart(lines, { title, yLabel, percent = false, width = 560 }) {
  const height = Math.round(Math.max(250, width * 0.58));
  const edge = { left: 50, right: 152, top: 28, bottom: 40 };
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
  const values = lines.flatMap((line) => present(line.ys));
  if (values.length === 0) {
    svg.append(element("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "No curve recorded"));
    return svg;
  }
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const log = !percent && low > 0 && high / low > 10; // losses that span a decade
  if (high === low) [low, high] = [low * 0.9, high * 1.1 || 1];
  if (!log) {
    const room = (high - low) * 0.06;
    [low, high] = [percent ? Math.max(0, low - room) : low - room, percent ? Math.min(1, high + room) : high + room];
  } else [low, high] = [low / 1.12, high * 1.12];
  const scale = log ? Math.log : (value) => value;
  const xs = lines.flatMap((line) => line.xs);
  const [first, last] = [Math.min(...xs), Math.max(...xs)];
  const inner = { width: width - edge.left - edge.right, height: height - edge.top - edge.bottom };
  const x = (value) => edge.left + (inner.width * (value - first)) / (last - first || 1);
  const y = (value) => edge.top + inner.height * (1 - (scale(value) - scale(low)) / (scale(high) - scale(low)));
  const text = (value) => (percent ? `${+(value * 100).toFixed(1)} %` : String(+value.toPrecision(2)));

  for (const tick of log ? logTicks(low, high) : roundTicks(low, high)) {
    svg.append(
      element("line", { x1: edge.left, x2: edge.left + inner.width, y1: y(tick), y2: y(tick), class: "grid" }),
      element("text", { x: edge.left - 8, y: y(tick) + 4, "text-anchor": "end" }, text(tick)),
    );
  }
  const epochs = roundTicks(first, last).filter(Number.isInteger);
  if (epochs[0] - first > (last - first) / 8) epochs.unshift(first);
  for (const tick of epochs.length > 1 ? epochs : [first, last]) {
    svg.append(element("text", { x: x(tick), y: edge.top + inner.height + 18, "text-anchor": "middle" }, String(tick)));
  }
  svg.append(
    element("text", { x: edge.left + inner.width / 2, y: height - 4, "text-anchor": "middle" }, "epoch"),
    element("text", { x: 0, y: 12 }, yLabel + (log ? ", log scale" : "")),
  );

  const names = [];
  for (const line of lines) {
    const ys = line.ys.map((value) => (value === null ? null : y(value)));
    const end = ys.findLastIndex((value) => value !== null);
    if (end < 0) continue;
    svg.append(
      element("path", {
        d: path(line.xs.map(x), ys), fill: "none", stroke: line.colour, "stroke-width": 2.25,
        "stroke-dasharray": line.dashes.map((dash) => dash * 1.6).join(" ") || "none", "stroke-linejoin": "round",
      }),
    );
    if (end === 0) svg.append(element("circle", { cx: x(line.xs[0]), cy: ys[0], r: 3.5, fill: line.colour }));
    names.push({ line, x: x(line.xs[end]), y: ys[end] });
  }
  names.sort((a, b) => a.y - b.y);
  const rows = names.map((name) => name.y);
  for (let i = 1; i < rows.length; i++) rows[i] = Math.max(rows[i], rows[i - 1] + 15); // push apart
  const excess = Math.max(0, (rows.at(-1) ?? 0) - (edge.top + inner.height));
  for (let i = rows.length - 1, bound = Infinity; i >= 0; i--) {
    rows[i] = Math.min(rows[i] - (i === rows.length - 1 ? excess : 0), bound);
    bound = rows[i] - 15;
  }
  const margin = edge.left + inner.width;
  names.forEach(({ line, x: endX, y: endY }, i) => {
    svg.append(
      element("path", { d: `M${endX} ${endY}L${margin + 8} ${rows[i]}`, stroke: line.colour, "stroke-width": 1, opacity: 0.6, fill: "none" }),
      element("text", { x: margin + 12, y: rows[i] + 4, class: "name" }, line.name),
    );
  });
  return svg;
}
