// Training time: a slider over the moments of which a study's runs keep their weights. Its last
// position is the end, where models answer with the weights of their best epoch.

import { t } from "./i18n.js";

const $ = (id) => document.getElementById(id);
const PLAY_MS = 700; // between two moments

/** Who answers at a moment; at the end of training no moment is named. */
export function at(step, who) {
  if (step === null) return who;
  return step === 0 ? t("answer.before", { who }) : t("answer.after", { who, count: step });
}

export class Timeline {
  #moments = [];
  #timer = 0;

  /** @param {() => void} changed is called when another moment was chosen */
  constructor(changed) {
    this.changed = changed;
    $("moment").addEventListener("input", () => {
      this.#stop();
      this.#say();
      changed();
    });
    $("play").addEventListener("click", () => (this.#timer ? this.#stop() : this.#play()));
  }

  /** The optimizer step that is chosen; null at the end. */
  get step() {
    return this.#moments[Number($("moment").value)]?.step ?? null;
  }

  /**
   * @param {{step: number, epoch: number | null}[]} moments of a study; none hides the slider
   * @param {number | null} step of the moment to choose; where there is none of it, the end
   */
  show(moments, step = this.step) {
    const before = this.step;
    if (!moments.length) this.#stop();
    this.#moments = moments;
    $("timeline").hidden = !moments.length;
    $("moment").max = String(moments.length);
    const same = moments.findIndex((moment) => moment.step === step);
    $("moment").value = String(same < 0 ? moments.length : same);
    this.#say();
    if (this.step !== before) this.changed();
  }

  #say() {
    const moment = this.#moments[Number($("moment").value)];
    const key = !moment ? "end" : moment.step === 0 ? "start" : moment.epoch ? "epoch" : "step";
    const text = t(`moment.${key}`, { step: moment?.step, epoch: moment?.epoch && Math.round(100 * moment.epoch) / 100 });
    $("moment").setAttribute("aria-valuetext", text);
    $("moment-text").textContent = text;
  }

  #play() {
    const last = this.#moments.length;
    const go = (position) => {
      $("moment").value = String(position);
      this.#say();
      this.changed();
      if (position === last) this.#stop();
    };
    const start = Number($("moment").value);
    this.#timer = setInterval(() => go(Math.min(last, Number($("moment").value) + 1)), PLAY_MS);
    this.#label();
    if (start === last) go(0);
  }

  #stop() {
    clearInterval(this.#timer);
    this.#timer = 0;
    this.#label();
  }

  #label() {
    $("play").textContent = t(this.#timer ? "pause" : "play");
  }
}
