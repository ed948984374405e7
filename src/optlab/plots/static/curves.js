// Interactive curves, the same on the page and in reports. uPlot draws; this module chooses what.

const SMOOTHEST = 0.2; // the widest window, as a share of a line's points
const LOG_FROM = 15; // ratio of the largest to the smallest loss
const X_AXES = ["step", "epoch", "seconds"];

const written = (value, digits) => value.toLocaleString(document.documentElement.lang, { maximumSignificantDigits: digits });

function make(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

/** Mean over a window around each value, which shrinks toward both ends. */
export function smoothed(values, window) {
  const sums = [0];
  for (const value of values) sums.push(sums.at(-1) + value);
  return values.map((_, i) => {
    const half = Math.min((window - 1) / 2, i, values.length - 1 - i);
    return (sums[i + half + 1] - sums[i - half]) / (2 * half + 1);
  });
}

/** Steps as epochs or seconds, straight between the ends of epochs; the start is 0. */
export function converted(steps, knots, column) {
  const known = [[0, 0, 0], ...knots];
  let k = 1;
  return steps.map((step) => {
    while (k < known.length - 1 && known[k][0] < step) k++;
    const [from, to] = [known[k - 1], known[k]];
    return from[column] + ((to[column] - from[column]) * (step - from[0])) / (to[0] - from[0]);
  });
}

export class Curves {
  #chart = null;
  #hidden = new Set(); // names of lines
  #values = new Map(); // name to the node with its value under the pointer

  /**
   * @param {HTMLElement} container is filled
   * @param {(key: string, values?: object) => string} t gives the strings of curves.*.json
   */
  constructor(container, t) {
    Object.assign(this, { container, t });
    container.classList.add("curves");
    this.quantity = this.#choice("curves.quantity");
    this.axis = this.#choice("curves.axis", X_AXES.map((name) => new Option(t(`curves.${name}`), name)));
    this.log = make("input", { type: "checkbox", onchange: () => this.draw() });
    this.smoothing = make("input", { type: "range", min: 0, max: 100, value: 45, oninput: () => this.draw() });
    this.lines = make("div", { className: "curve-lines" });
    this.plot = make("div", { className: "curve-plot" });
    this.note = make("p", { className: "curve-note" });
    container.replaceChildren(
      make("div", { className: "curve-controls" }, this.quantity.parentElement, this.axis.parentElement,
        make("label", {}, this.log, ` ${t("curves.log")}`), make("label", {}, `${t("curves.smoothing")} `, this.smoothing)),
      this.plot, this.lines, this.note,
    );
    this.quantity.addEventListener("change", () => this.#suggestLog());
    for (const select of [this.quantity, this.axis]) select.addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.#chart?.setSize(this.#size())).observe(this.plot);
    // Colors are those of the theme, however it is chosen
    const redraw = () => this.quantities && this.draw();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  /**
   * Show curves; what the reader has chosen stays where it can.
   * @param {object[]} quantities as optlab.plots.interactive says, one or more
   * @param {string} clockNote says why training times are not comparable; empty if they are
   */
  show(quantities, clockNote = "") {
    const before = this.quantity.value;
    this.quantities = quantities;
    this.clockNote = clockNote;
    this.quantity.replaceChildren(...quantities.map(({ title }) => new Option(this.t(`curves.${title}`), title)));
    if (quantities.some(({ title }) => title === before)) this.quantity.value = before;
    if (this.quantity.value !== before) this.#suggestLog();
    this.draw();
  }

  #choice(label, options = []) {
    const select = make("select", {}, ...options);
    make("label", {}, `${this.t(label)} `, select);
    return select;
  }

  get #chosen() {
    return this.quantities[this.quantity.selectedIndex];
  }

  /** The least and the largest positive value; by a loop, since too many arguments end in an error. */
  #range() {
    let [low, high] = [Infinity, 0];
    for (const { y } of this.#chosen.lines) {
      for (const value of y) {
        if (value > 0) [low, high] = [Math.min(low, value), Math.max(high, value)];
      }
    }
    return [low, high];
  }

  #suggestLog() {
    const [low, high] = this.#range();
    this.log.disabled = this.#chosen.percent;
    this.log.checked = !this.#chosen.percent && high / low > LOG_FROM;
  }

  #size() {
    const width = Math.max(this.plot.clientWidth, 200);
    return { width, height: Math.round(Math.min(Math.max(width * 0.5, 230), 420)) };
  }

  draw() {
    const { title: name, percent, lines, notes } = this.#chosen;
    const axis = this.axis.value;
    const [title, over] = [this.t(`curves.${name}`), this.t(`curves.${axis}`)];
    const isLog = this.log.checked && !percent;
    const style = getComputedStyle(this.container);
    const isDark = getComputedStyle(document.documentElement).colorScheme === "dark";
    const rule = style.getPropertyValue("--line").trim() || "#ccc";
    const share = this.smoothing.valueAsNumber / 100;
    const scale = percent ? 100 : 1;
    const lowest = this.#range()[0] / 10; // of bands on a log scale
    const drawable = (values, window) => smoothed(values, window).map((value) => (isLog ? Math.max(value, lowest) : value) * scale);

    const tables = [];
    const series = [{}];
    const bands = [];
    let widest = 1;
    for (const line of lines) {
      if (axis !== "step" && !line.knots.length) continue;
      const window = 1 + 2 * Math.round((share ** 2 * SMOOTHEST * line.y.length) / 2);
      widest = Math.max(widest, window);
      const color = isDark ? line.dark : line.color;
      const show = !this.#hidden.has(line.name);
      const xs = axis === "step" ? line.step : converted(line.step, line.knots, axis === "epoch" ? 1 : 2);
      const table = [xs, drawable(line.y, window)];
      series.push({ label: line.name, show, stroke: color, width: line.diverged ? 1 : 2, dash: line.dashes.map((dash) => 1.6 * dash), points: { show: xs.length === 1 } });
      if (line.low) {
        table.push(drawable(line.low, window), drawable(line.high, window));
        const edge = { label: line.name, show, width: 0, points: { show: false } };
        series.push(edge, { ...edge });
        bands.push({ series: [series.length - 1, series.length - 2], fill: `${color}33` });
      }
      tables.push(table);
    }
    const text = { stroke: style.color, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule, width: 1 }, font: "12px system-ui, sans-serif" };
    const unit = percent ? " %" : "";
    this.#chart?.destroy();
    this.#chart = new uPlot(
      {
        ...this.#size(),
        series, bands,
        legend: { show: false },
        cursor: { y: false, points: { show: (u, i) => (bands.some(({ series: edges }) => edges.includes(i)) ? null : point(u.series[i].stroke())) } },
        scales: { x: { time: false }, y: isLog ? { distr: 3 } : {} },
        axes: [
          { ...text, values: (_, ticks) => ticks.map((tick) => written(tick, 6)), label: over, labelSize: 22, labelFont: text.font },
          { ...text, size: 60, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : written(tick, 6))), label: title + (percent ? " (%)" : ""), labelSize: 20, labelFont: text.font },
        ],
        hooks: { setCursor: [(chart) => this.#read(chart, unit)] },
      },
      tables.length ? uPlot.join(tables) : [[]],
      this.plot,
    );
    this.plot.setAttribute("role", "img");
    this.plot.setAttribute("aria-label", this.t("curves.label", { quantity: title, axis: over, names: [...new Set(lines.map(({ name }) => name))].join(", ") }));
    this.#showLines(lines, isDark);
    const said = notes.map(({ name, ...values }) => this.t(`curves.${name}`, values));
    if (widest > 1) said.push(this.t("curves.smoothed", { count: widest }));
    if (axis === "seconds" && this.clockNote) said.push(this.clockNote);
    this.note.textContent = `${[...said, this.t("curves.zoom")].join("; ")}.`;
  }

  #showLines(lines, isDark) {
    const byName = new Map(lines.map((line) => [line.name, line]));
    const hadFocus = document.activeElement?.dataset.line;
    this.#values.clear();
    this.lines.replaceChildren(
      ...[...byName.values()].map((line) => {
        const sample = document.createElementNS("http://www.w3.org/2000/svg", "svg");
        const stroke = document.createElementNS(sample.namespaceURI, "path");
        sample.setAttribute("viewBox", "0 0 34 10");
        for (const [key, value] of Object.entries({ d: "M1 5h32", stroke: isDark ? line.dark : line.color, "stroke-width": 2.6, "stroke-dasharray": line.dashes.map((dash) => 1.8 * dash).join(" ") || "none" })) stroke.setAttribute(key, value);
        sample.append(stroke);
        const value = make("span", { className: "curve-value" });
        this.#values.set(line.name, value);
        const button = make("button", { type: "button", onclick: () => this.#toggle(line.name) }, sample, line.name, value);
        button.dataset.line = line.name;
        button.setAttribute("aria-pressed", String(!this.#hidden.has(line.name)));
        return button;
      }),
    );
    [...this.lines.children].find((button) => button.dataset.line === hadFocus)?.focus();
  }

  #toggle(name) {
    if (!this.#hidden.delete(name)) this.#hidden.add(name);
    this.draw();
  }

  /** Write the values under the pointer next to the names. */
  #read(chart, unit) {
    const seen = new Set();
    chart.series.forEach(({ label, show }, i) => {
      if (!i || seen.has(label)) return;
      seen.add(label);
      const at = chart.cursor.left >= 0 ? chart.cursor.idxs[i] : null;
      const value = show && at !== null ? chart.data[i][at] : null;
      this.#values.get(label).textContent = value == null ? "" : `${written(value, 4)}${unit}`;
    });
  }
}

function point(color) {
  const node = make("div", { className: "u-cursor-pt" });
  Object.assign(node.style, { width: "8px", height: "8px", marginLeft: "-4px", marginTop: "-4px", background: color });
  return node;
}

/** In a report: curves where it has a place for them (its pictures stay for print), downloads. */
export function showAll(strings) {
  const t = (key, values) => strings[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
  for (const link of document.querySelectorAll("a[data-image]")) link.href = link.closest("figure").querySelector("img").src;
  for (const place of document.querySelectorAll("[data-curves]")) {
    const { quantities, clock_note: clockNote } = JSON.parse(document.getElementById(place.dataset.curves).textContent);
    place.hidden = false; // so that it has a width
    new Curves(place, t).show(quantities, clockNote);
    place.parentElement.classList.add("has-curves");
  }
}
