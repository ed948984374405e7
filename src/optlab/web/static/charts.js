// SVG: its elements, and the curves of a card.

const SVG = "http://www.w3.org/2000/svg";

export function element(name, attributes, ...children) {
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
export function sparkline(values, color, label) {
  const svg = element("svg", { class: "spark", viewBox: "0 0 100 30", preserveAspectRatio: "none", role: "img", "aria-label": label });
  if (present(values).length === 0) return svg;
  const { x, y } = sparkScale(values);
  svg.append(
    element("path", { d: path(values.map(x), values.map(y)), fill: "none", stroke: color, "stroke-width": 2, "vector-effect": "non-scaling-stroke", "stroke-linejoin": "round" }),
  );
  return svg;
}

/** Put the marker of a sparkline on one of its values; none where there is no such value. */
export function markSparkline(svg, values, index, color) {
  svg.querySelector(".marker")?.remove();
  if (!Number.isFinite(values[index])) return;
  const { x, y } = sparkScale(values);
  // A line without length and with round ends: a dot that the stretched picture does not distort
  svg.append(
    element("path", { class: "marker", d: `M${x(0, index)} ${y(values[index])}h0`, stroke: color, "stroke-width": 9, "stroke-linecap": "round", "vector-effect": "non-scaling-stroke" }),
  );
}
