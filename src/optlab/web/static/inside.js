// A look inside: what the answers rest on, how they change on the way to another picture, and what
// the first layers of one network make of the drawing. Nothing is asked for while it is closed.

import { featureMaps, morph, predict } from "./api.js";
import { make, paintSeen } from "./answers.js";
import { exampleBlob } from "./drawing.js";
import { inWords, number, percent, t } from "./i18n.js";

const $ = (id) => document.getElementById(id);
const REST_MS = 300; // so long the pen has to rest
const LEAST_SCALE = 0.1; // a fall of ten points is the warmest color, or more where there is more
const points = (fraction) => number(100 * fraction, { maximumFractionDigits: 1, minimumFractionDigits: 1 });

export class Inside {
  #shown = null; // what update() was given last
  #number = 0; // of it
  #done = {}; // by part of the panel, what it was last asked for
  #isAsking = false;
  #timer = 0;
  #taken = null; // the picture that was taken from the canvas
  #examples = new Map(); // by digit and pen, so that a target stays the same
  #way = null; // the newest answer of /api/morph

  /** @param {Pad} pad */
  constructor(pad) {
    this.pad = pad;
    $("inside").addEventListener("toggle", () => this.#look());
    $("way-target").addEventListener("change", () => this.#look());
    $("maps-model").addEventListener("change", () => this.#look());
    $("way-at").addEventListener("input", () => this.#showMixture());
    $("way-take").addEventListener("click", async () => {
      this.#taken = await pad.toBlob();
      this.#done.way = null;
      this.#offerTargets();
      $("way-target").value = "taken";
      this.#look();
    });
  }

  /**
   * Follow the page to a new answer, or to none.
   * @param {object | null} prediction
   * @param {object[]} voices those of the cards
   * @param {object} whom was asked: study, optimizer, model and step
   * @param {object} styles by optimizer
   */
  update(prediction, voices = [], whom = {}, styles = {}) {
    if (prediction && prediction === this.#shown?.prediction) return;
    this.#shown = prediction && { prediction, voices, whom, styles, number: ++this.#number };
    $("inside-body").hidden = !prediction;
    $("inside-state").textContent = prediction ? "" : t("answer.nothing");
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), REST_MS);
  }

  async #look() {
    if (this.#isAsking) return; // the loop below continues with the newest
    this.#isAsking = true;
    try {
      while (await this.#askNext());
      if (this.#shown) $("inside-state").textContent = "";
    } catch (error) {
      $("inside-state").textContent = error.message;
    } finally {
      this.#isAsking = false;
    }
  }

  /** Ask for the first part of the panel that is not of the newest answer; false where all are. */
  async #askNext() {
    const shown = this.#shown;
    if (!$("inside").open || !shown) return false;
    this.#offerTargets();
    this.#offerModels();
    const parts = { parts: "", way: $("way-target").value, maps: $("maps-model").value };
    const name = Object.keys(parts).find((each) => this.#done[each] !== `${shown.number} ${parts[each]}`);
    if (!name) return false;
    const picture = await this.pad.toBlob();
    if (name === "parts") await this.#askParts(picture, shown);
    else if (name === "way") await this.#askWay(picture, shown);
    else await this.#askMaps(picture, shown);
    this.#done[name] = `${shown.number} ${parts[name]}`;
    return true;
  }

  // ---------------------------------------------------------------- parts

  async #askParts(picture, { whom, styles }) {
    const { blank, seen, optimizers, class_names: names } = await predict(picture, { ...whom, saliency: true, occlusion: true });
    if (blank) return;
    const maps = optimizers.map(({ occlusion }) => fallMap(occlusion, seen.side));
    const scale = Math.max(LEAST_SCALE, ...maps.flat(2));
    const { patch, offsets } = optimizers[0].occlusion;
    $("parts-text").textContent = t("inside.parts.text", { patch, stride: offsets[1] - offsets[0], side: seen.side, points: points(scale) });
    $("parts").replaceChildren(
      ...optimizers.map((said, i) => {
        const { title, color } = styleOf(said, styles);
        const fall = Math.max(...said.occlusion.falls.flat());
        const sentence = t(said.occlusion.worst === said.top ? "inside.parts.still" : "inside.parts.then", { points: points(fall), name: names[said.occlusion.worst] });
        const figure = make("figure", "", make("figcaption", "", dot(color), make("b", "", title), ` ${sentence}`));
        figure.prepend(
          painted(t("inside.parts.gradient", { who: title }), t("inside.gradient"), (canvas) => paintSeen(canvas, seen, said.saliency)),
          painted(t("inside.parts.covered", { who: title, sentence }), t("inside.covered"), (canvas) =>
            paintSeen(canvas, seen, maps[i].map((row) => row.map((value) => (255 * Math.max(0, value)) / scale)))),
        );
        return figure;
      }),
    );
  }

  // ---------------------------------------------------------------- the way to another picture

  #offerTargets() {
    const { prediction } = this.#shown;
    const names = prediction.class_names;
    const areDigits = names.every((name) => /^\d$/.test(name)) && !document.body.classList.contains("picture-mode");
    const targets = areDigits ? names.map((name) => [name, t("inside.way.example", { name })]) : [];
    if (this.#taken) targets.push(["taken", t("inside.way.taken")]);
    const [, second] = prediction.ensemble.probabilities.map((p, i) => [p, i]).sort((a, b) => b[0] - a[0])[1];
    offer($("way-target"), targets, areDigits ? names[second] : "taken");
    $("way-choice").hidden = !targets.length;
  }

  async #askWay(picture, { whom, styles }) {
    const chosen = $("way-target").value;
    if (!chosen) {
      $("way").hidden = true;
      return;
    }
    const key = `${chosen} ${this.pad.penWidth}`;
    if (chosen !== "taken" && !this.#examples.has(key)) this.#examples.set(key, await exampleBlob(Number(chosen), this.pad.penWidth));
    this.#way = await morph(picture, chosen === "taken" ? this.#taken : this.#examples.get(key), whom);
    $("way-at").max = String(this.#way.optimizers[0].top.length - 1);
    $("ways").replaceChildren(...this.#way.optimizers.map((said) => lane(said, this.#way.class_names, styleOf(said, styles))));
    $("way").hidden = false;
    this.#showMixture();
  }

  #showMixture() {
    const { start, end, optimizers, class_names: names } = this.#way;
    const index = Number($("way-at").value);
    const share = index / Number($("way-at").max);
    const mix = (a, b) => (Array.isArray(a) ? a.map((each, i) => mix(each, b[i])) : (1 - share) * a + share * b);
    const label = t("inside.way.share", { start: percent(1 - share, 0), end: percent(share, 0) });
    paintSeen($("mixture"), { ...start, pixels: mix(start.pixels, end.pixels) }, null);
    $("mixture").setAttribute("aria-label", label);
    $("way-text").textContent = label;
    $("way-at").setAttribute("aria-valuetext", label);
    $("ways").style.setProperty("--at", share);
    optimizers.forEach(({ top, probability }, i) => {
      $("ways").children[i].children[2].textContent = t("inside.way.here", { name: names[top[index]], percent: percent(probability[index]) });
    });
  }

  // ---------------------------------------------------------------- feature maps

  #offerModels() {
    const models = this.#shown.voices.filter(({ model }) => model).map(({ model, title }) => [model.id, title]);
    offer($("maps-model"), models, models[0]?.[0]);
  }

  async #askMaps(picture, { whom }) {
    const { layers } = await featureMaps($("maps-model").value, picture, whom);
    $("maps-none").hidden = layers.length > 0;
    $("maps-text").hidden = !layers.length;
    $("maps").replaceChildren(
      ...layers.map(({ num_maps: count, maps, width, height }, i) => {
        const key = maps.length < count ? "inside.maps.some" : "inside.maps.all";
        const caption = t(key, { layer: i + 1, count, shown: maps.length, width, height });
        const images = make("div", "maps", ...maps.map((png) => Object.assign(make("img"), { src: `data:image/png;base64,${png}`, alt: "" })));
        images.setAttribute("role", "img");
        images.setAttribute("aria-label", caption);
        return make("figure", "", make("figcaption", "", caption), images);
      }),
    );
  }
}

/** What one optimizer answers along the way: a bar in stretches, parted where its answer switches. */
function lane({ top, switches }, names, { title, color }) {
  const stretches = [{ at: 0, top: top[0] }, ...switches];
  const bar = make("div", "way", ...stretches.map((stretch, i) => {
    const part = make("span", "", names[stretch.top]);
    part.style.setProperty("--size", (stretches[i + 1]?.at ?? 1) - stretch.at);
    return part;
  }));
  bar.style.setProperty("--voice", color);
  bar.setAttribute("role", "img");
  const changes = switches.map(({ at, top }) => t("inside.way.switch", { percent: percent(at, 0), name: names[top] }));
  const name = names[top[0]];
  const sentence = changes.length ? inWords(changes) : t("inside.way.never", { name });
  bar.setAttribute("aria-label", changes.length ? t("inside.way.lane", { who: title, name, changes: sentence }) : `${title}: ${sentence}`);
  return make("li", "", dot(color), make("b", "", title), make("span"), bar, make("small", "", sentence));
}

const styleOf = ({ optimizer }, styles) => styles[optimizer] ?? { title: optimizer, color: "#777777" };

/** Let a list have these [value, text], unless it has them; what was chosen stays, where it can. */
function offer(select, choices, preferred) {
  if (select.dataset.choices === String(choices)) return;
  const before = select.value;
  select.dataset.choices = String(choices);
  select.replaceChildren(...choices.map(([value, text]) => new Option(text, value)));
  select.value = choices.some(([value]) => value === before) ? before : preferred;
}

function dot(color) {
  const node = make("i");
  node.style.setProperty("--voice", color);
  return node;
}

function painted(label, caption, paint) {
  const canvas = make("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  paint(canvas);
  return make("div", "", canvas, make("small", "", caption));
}

/** For each pixel the mean fall over the patches that cover it. */
function fallMap({ patch, offsets, falls }, side) {
  const covering = Array.from({ length: side }, (_, at) => offsets.flatMap((offset, i) => (offset <= at && at < offset + patch ? [i] : [])));
  return covering.map((rows) =>
    covering.map((columns) => {
      const values = rows.flatMap((row) => columns.map((column) => falls[row][column]));
      return values.reduce((sum, value) => sum + value, 0) / values.length;
    }),
  );
}
