// The live race: runs that train right now, their curves, and what each says of the drawing.

import { make, rounded } from "./answers.js";
import { redrawRace, startRace } from "./api.js";
import { element } from "./charts.js";
import { inWords, number, percent, t } from "./i18n.js";

const $ = (id) => document.getElementById(id);
const [HEIGHT, LEFT, BOTTOM] = [280, 52, 34];
const SHORTEST = 60; // steps of the axis at the start

export class LiveRace {
  #lanes = new Map(); // by optimizer: {style, reports, node}
  #runs = false;
  #sending = false;
  #again = false;

  /** @param {() => Promise<Blob>} drawing  @param {(problem: string) => void} say */
  constructor(drawing, say) {
    this.drawing = drawing;
    this.say = say;
    $("race-start").addEventListener("click", () => this.#start());
  }

  offer(isOffered) {
    $("race").hidden = !isOffered;
  }

  /** The drawing has changed: the coming reports are of the new one. */
  async redraw() {
    if (!this.#runs) return;
    this.#again = true;
    if (this.#sending) return;
    this.#sending = true;
    try {
      while (this.#again) {
        this.#again = false;
        await redrawRace(await this.drawing());
      }
    } catch (error) {
      this.say(error.message);
    } finally {
      this.#sending = false;
    }
  }

  async #start() {
    $("race-start").disabled = true;
    try {
      const { optimizers, styles } = await startRace(await this.drawing());
      this.#lanes = new Map(optimizers.map((name) => [name, { style: styles[name], reports: [] }]));
    } catch (error) {
      $("race-start").disabled = false;
      return this.say(error.message);
    }
    this.#runs = true;
    $("race-body").hidden = false;
    $("race-state").textContent = t("race.starting");
    $("race-lanes").replaceChildren(...[...this.#lanes.values()].map((lane) => {
      const dot = make("i");
      dot.style.setProperty("--voice", lane.style.color);
      lane.node = make("li", "", dot, make("b", "", lane.style.title), make("strong", "", "–"), make("span", "", t("race.lane")));
      return lane.node;
    }));
    this.#draw();
    const events = new EventSource("/api/race/events");
    events.addEventListener("open", () => { // also after a break: all reports come again
      for (const lane of this.#lanes.values()) lane.reports = [];
    });
    events.addEventListener("message", ({ data }) => this.#take(JSON.parse(data)));
    events.addEventListener("end", ({ data }) => {
      events.close();
      this.#end(JSON.parse(data));
    });
    events.addEventListener("error", () => { // closed: the server refuses, for example after a restart
      if (events.readyState !== EventSource.CLOSED) return;
      this.#stop(t("race.broken"));
    });
  }

  #take(report) {
    const lane = this.#lanes.get(report.optimizer);
    lane.reports.push(report);
    if ($("race-state").textContent !== t("race.racing")) $("race-state").textContent = t("race.racing");
    const { probabilities: said, step, val_accuracy: accuracy } = report;
    const top = said ? said.indexOf(Math.max(...said)) : null;
    lane.node.children[2].textContent = top ?? "–";
    const facts = [t("race.step", { step })];
    if (accuracy !== null) facts.push(t("race.right", { percent: percent(accuracy) }));
    if (said) facts.push(t("answer.sure", { percent: rounded(said[top]) }));
    lane.node.children[3].textContent = facts.join(", ");
    this.#draw();
  }

  #end(failed) {
    const title = (name) => this.#lanes.get(name).style.title;
    const last = (name) => this.#lanes.get(name).reports.at(-1)?.val_accuracy ?? -1;
    const [best, ...others] = [...this.#lanes.keys()].filter((name) => last(name) >= 0).sort((a, b) => last(b) - last(a));
    const winners = [best, ...others.filter((name) => last(name) === last(best))];
    const said = [];
    if (best) said.push(t("race.won", { names: inWords(winners.map(title)), count: winners.length, percent: percent(last(best)) }));
    if (failed.length) said.push(t("race.failed", { names: failed.map(title).join(", ") }));
    this.#stop(said.join(" "));
  }

  #stop(sentence) {
    this.#runs = false;
    $("race-start").disabled = false;
    $("race-start").textContent = t("race.again");
    $("race-state").textContent = sentence;
  }

  #draw() {
    const lanes = [...this.#lanes.values()];
    const width = Math.min(640, Math.max(270, $("race-chart").clientWidth)); // so that text keeps its size
    const end = Math.max(SHORTEST, ...lanes.map(({ reports }) => reports.at(-1)?.step ?? 0));
    const x = (step) => LEFT + ((width - LEFT - 8) * step) / end;
    const y = (accuracy) => 8 + (HEIGHT - BOTTOM - 8) * (1 - accuracy);
    const chart = element("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": t("race.label", { count: lanes.length, steps: end }) });
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      chart.append(
        element("line", { x1: LEFT, x2: width - 8, y1: y(share), y2: y(share), class: "grid" }),
        element("text", { x: LEFT - 8, y: y(share) + 4, "text-anchor": "end" }, `${100 * share} %`),
      );
    }
    for (const step of [0, end]) chart.append(element("text", { x: x(step), y: HEIGHT - 14, "text-anchor": step ? "end" : "middle" }, number(step)));
    chart.append(element("text", { x: (LEFT + width) / 2, y: HEIGHT - 14, "text-anchor": "middle" }, t("race.steps")));
    for (const { style, reports } of lanes) {
      const known = reports.filter((report) => report.val_accuracy !== null);
      const d = known.map((report, i) => `${i ? "L" : "M"}${x(report.step).toFixed(1)} ${y(report.val_accuracy).toFixed(1)}`).join("");
      if (d) chart.append(element("path", { d, fill: "none", stroke: style.color, "stroke-width": 2.25, "stroke-dasharray": style.dashes.map((dash) => dash * 1.6).join(" ") || "none", "stroke-linejoin": "round" }));
    }
    $("race-chart").replaceChildren(chart);
  }
}
