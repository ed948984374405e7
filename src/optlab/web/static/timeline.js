// Training time: a slider over the moments of which a study's runs keep their weights. Its last
// position is the end, where models answer with the weights of their best epoch.

const $ = (id) => document.getElementById(id);
const PLAY_MS = 700; // between two moments

/** A moment for the end of a title; nothing for the end of training. */
export function after(step) {
  if (step === null) return "";
  return step === 0 ? " before training" : ` after ${step} ${step === 1 ? "step" : "steps"}`;
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

  /** @param {{step: number, epoch: number | null}[]} moments of a study; none hides the slider */
  show(moments) {
    const { step } = this;
    if (!moments.length) this.#stop();
    this.#moments = moments;
    $("timeline").hidden = !moments.length;
    $("moment").max = String(moments.length);
    const same = moments.findIndex((moment) => moment.step === step);
    $("moment").value = String(same < 0 ? moments.length : same);
    this.#say();
    if (this.step !== step) this.changed();
  }

  #say() {
    const moment = this.#moments[Number($("moment").value)];
    const epoch = moment?.epoch ? `, epoch ${+moment.epoch.toFixed(2)}` : "";
    const text = !moment ? "end: weights of the best epoch" : moment.step === 0 ? "step 0: before training" : `step ${moment.step}${epoch}`;
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
    $("play").textContent = this.#timer ? "Pause" : "Play";
  }
}
