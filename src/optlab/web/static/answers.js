// Showing answers: the ensemble with everybody's vote, and one card for each voice.
// Cards are built when the voices change and only updated while drawing.

import { markSparkline, sparkline } from "./charts.js";
import { inWords, percent, significant, t } from "./i18n.js";

const $ = (id) => document.getElementById(id);
const sure = (p) => (p > 0.9995 ? `> ${percent(0.999)}` : percent(p));

/** A probability without decimals; only certainty is 100 %, and 0 % is below one in a thousand. */
export function rounded(p) {
  if (p >= 0.995 && p < 1) return "> 99 %";
  if (p < 0.005 && p >= 0.001) return "< 1 %";
  return percent(p, 0);
}

export function make(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

const isWord = (names) => names.some((name) => name.length > 2);
const SHOWN_CLASSES = 10;

/** The classes to show: all where there are ten or fewer, else the most probable ones. */
function shownClasses(names, probabilities) {
  const all = names.map((_, i) => i);
  if (names.length <= SHOWN_CLASSES) return all;
  return all.sort((a, b) => probabilities[b] - probabilities[a]).slice(0, SHOWN_CLASSES);
}

/** Training losses at the moments of the slider, else of each epoch; and the key of its name. */
function lossesOf({ curve, moments }) {
  return moments.steps.length ? [moments.train_loss, "card.loss_moments"] : [curve.train_loss, "card.loss_epochs"];
}

/** Ten bars; `label` is written under or next to each. */
function makeBars(container, classes, names, kind) {
  container.replaceChildren(
    ...classes.map((index) => {
      const bar = make("div", kind, make("div", "well", make("div", "fill")), make("b", "", names[index]));
      bar.dataset.index = index;
      return bar;
    }),
  );
  container.classList.toggle("words", isWord(names));
}

function fillBars(container, probabilities, names) {
  for (const bar of container.children) {
    const p = probabilities[bar.dataset.index];
    bar.style.setProperty("--p", p);
    bar.title = `${names[bar.dataset.index]}: ${percent(p)}`;
  }
}

/** How sure a voice is, and how many runs it stands for. */
function sureOf({ probabilities, top, answered, runs }) {
  const values = { percent: sure(probabilities[top]), answered, count: runs };
  if (!(runs > 1)) return values.percent;
  return t(answered < runs ? "card.some_runs" : "card.runs", values);
}

/** What speaks against reading the drawing as one digit, in a few words; empty without a doubt. */
function doubtOf({ class_names: names, num_digits: number, novelty }) {
  const areDigits = names.every((name) => /^\d$/.test(name));
  if (number > 1) return t(areDigits ? "doubt.digits" : "doubt.things");
  if (!novelty?.unfamiliar) return "";
  return t(areDigits ? "doubt.no_digit" : "doubt.nothing");
}

/**
 * @param {object[]} voices {key, title, subtitle, color, probabilities, top, saliency, model, step}
 * @param {Map<string, object>} details of models, by id
 */
export class Answers {
  constructor() {
    this.built = []; // what the cards were built from
  }

  /** No answer: says why, shows who would answer, and takes the numbers away. */
  rest(title, sentence, names, voices, details) {
    this.#prepare(shownClasses(names, names.map(() => 0)), names, voices, details);
    $("ensemble-title").textContent = title;
    $("ensemble").classList.add("resting");
    $("voices").classList.add("resting");
    $("big-name").textContent = "?";
    $("big").classList.remove("word");
    $("big-sure").textContent = "";
    $("verdict").textContent = "";
    $("verdict").className = "verdict";
    $("sentence").textContent = sentence;
    for (const dots of document.querySelectorAll(".dots")) dots.replaceChildren();
    for (const top of document.querySelectorAll(".voice-top")) top.textContent = "–";
    for (const text of document.querySelectorAll(".voice .sure, .confusion p, .vote small")) text.textContent = "";
    for (const bar of document.querySelectorAll(".vote, .bar")) {
      bar.style.setProperty("--p", 0);
      bar.title = "";
    }
    for (const bars of document.querySelectorAll(".bars")) bars.setAttribute("aria-label", t("answer.none"));
    for (const why of document.querySelectorAll(".why")) why.hidden = true;
    for (const node of document.querySelectorAll(".differs, .is-top")) {
      node.classList.remove("differs", "is-top");
    }
    for (const cell of document.querySelectorAll(".cells i")) cell.style.setProperty("--p", 0);
  }

  show(prediction, voices, details, whoseAnswer) {
    const names = prediction.class_names;
    const ensemble = prediction.ensemble;
    const classes = shownClasses(names, ensemble.probabilities);
    this.#prepare(classes, names, voices, details);
    $("ensemble").classList.remove("resting");
    $("voices").classList.remove("resting");
    $("ensemble-title").textContent = whoseAnswer;
    $("big-name").textContent = ensemble.name;
    $("big").classList.toggle("word", ensemble.name.length > 2);
    $("big-sure").textContent = t("answer.sure", { percent: sure(ensemble.probabilities[ensemble.top]) });
    this.#showVotes(ensemble, voices, names);
    const sentence = this.#showVerdict(ensemble, voices, names, doubtOf(prediction));
    voices.forEach((voice, i) => this.#showVoice($("voices").children[i], voice, ensemble, names, details));
    return sentence;
  }

  #prepare(classes, names, voices, details) {
    const shown = voices.flatMap((voice) => [voice.key, voice.title, voice.runs, voice.model, details.get(voice.model?.id)]);
    const parts = [String(classes), String(names), ...shown];
    if (parts.length === this.built.length && parts.every((part, i) => part === this.built[i])) return;
    this.#build(classes, names, voices, details);
    this.built = parts;
  }

  #build(classes, names, voices, details) {
    const votes = $("votes");
    makeBars(votes, classes, names, "vote");
    for (const vote of votes.children) {
      vote.querySelector("b").append(make("small"));
      vote.append(make("div", "dots"));
    }
    $("voices").replaceChildren(...voices.map((voice) => this.#buildVoice(voice, classes, names, details)));
  }

  #buildVoice(voice, classes, names, details) {
    const card = make("article", "card voice");
    card.style.setProperty("--voice", voice.color);
    card.classList.toggle("word", isWord(names));
    const name = make("div", "", make("h3", "", voice.title), make("span", "sure"), " ", make("span", "other", t("card.disagrees")));
    const why = make("canvas", "why");
    why.hidden = true;
    const bars = make("div", "bars");
    bars.setAttribute("role", "img");
    makeBars(bars, classes, names, "bar");
    card.append(make("div", "voice-head", make("div", "voice-top", "–"), name, why), bars);

    const model = voice.model;
    if (model) {
      const fact = (term, value) => make("div", "", make("dt", "", term), make("dd", "", value));
      const facts = make("dl", "facts",
        fact(t(voice.runs > 1 ? "card.accuracy_of_best" : "card.accuracy"), model.test_accuracy === null ? "–" : percent(model.test_accuracy)),
        fact(t("card.lr"), model.lr === null ? "–" : significant(model.lr, 3)));
      const detail = details.get(model.id);
      if (detail) {
        const [losses, key] = lossesOf(detail);
        facts.append(make("div", "loss", make("dt", "", t("card.loss")),
          make("dd", "", sparkline(losses, voice.color, t(key, { count: losses.length })))));
      }
      const cells = make("div", "cells", ...names.map(() => make("i")));
      cells.style.setProperty("--n", names.length);
      card.append(facts);
      if (detail?.confusion_matrix) card.append(make("div", "confusion", cells, make("p")));
      card.title = voice.subtitle;
      card.setAttribute("aria-label", voice.title);
    }
    return card;
  }

  #showVotes(ensemble, voices, names) {
    fillBars($("votes"), ensemble.probabilities, names);
    for (const vote of $("votes").children) {
      const index = Number(vote.dataset.index);
      vote.classList.toggle("is-top", index === ensemble.top);
      vote.querySelector("small").textContent = rounded(ensemble.probabilities[index]);
      vote.querySelector(".dots").replaceChildren(
        ...voices.filter((voice) => voice.top === index).map((voice) => {
          const dot = make("i");
          dot.style.setProperty("--voice", voice.color);
          dot.title = t("card.vote", { who: voice.title, name: voice.name });
          return dot;
        }),
      );
    }
  }

  #showVerdict(ensemble, voices, names, doubt) {
    const others = voices.filter((voice) => voice.top !== ensemble.top);
    const verdict = $("verdict");
    const [p, second] = ensemble.probabilities.map((p, i) => [p, i]).sort((a, b) => b[0] - a[0])[1];
    const next = p < 0.0005 ? t("next.none") : t("next", { name: names[second], percent: percent(p) });
    const [total, all] = [voices.length, voices.length === 2 ? "both" : "all"];
    let sentence;
    if (voices.length === 1) {
      verdict.textContent = "";
      verdict.className = "verdict";
      sentence = next;
    } else if (others.length === 0) {
      verdict.textContent = t(`agree.${all}`, { count: total });
      verdict.className = "verdict agree";
      sentence = `${t(`say.${all}`, { count: total, name: ensemble.name })} ${next}`;
    } else {
      const said = new Map();
      for (const voice of others) said.set(voice.name, [...(said.get(voice.name) ?? []), voice.title]);
      const count = total - others.length;
      verdict.textContent = t(count > 1 ? "agree.some" : "agree.none", { count, total });
      verdict.className = "verdict split";
      const parts = [...said].map(([name, who]) => t("say.others", { who: inWords(who), count: who.length, name }));
      sentence = `${[t("say.some", { count, total, name: ensemble.name }), ...parts].join("; ")}.`;
    }
    if (doubt) {
      verdict.textContent = doubt;
      verdict.className = "verdict split";
    }
    $("sentence").textContent = sentence;
    return doubt ? `${doubt}. ${sentence}` : sentence; // for those who hear it
  }

  #showVoice(card, voice, ensemble, names, details) {
    card.classList.toggle("differs", voice.top !== ensemble.top);
    card.querySelector(".voice-top").textContent = voice.name;
    card.querySelector(".sure").textContent = sureOf(voice);
    const bars = card.querySelector(".bars");
    fillBars(bars, voice.probabilities, names);
    bars.setAttribute("aria-label", t("card.bars", { who: voice.title, percents: names.map((name, i) => `${name} ${rounded(voice.probabilities[i])}`).join(", ") }));
    for (const bar of bars.children) bar.classList.toggle("is-top", Number(bar.dataset.index) === voice.top);
    const detail = details.get(voice.model?.id);
    if (detail?.moments.steps.length && voice.step !== null) {
      const at = detail.moments.steps.findLastIndex((step) => step <= voice.step);
      markSparkline(card.querySelector(".spark"), lossesOf(detail)[0], at, voice.color);
    }
    const row = detail?.confusion_matrix?.[voice.top];
    if (!row || !card.querySelector(".confusion")) return;
    const total = row.reduce((sum, count) => sum + count, 0);
    card.querySelectorAll(".cells i").forEach((cell, i) => {
      cell.style.setProperty("--p", total ? Math.sqrt(row[i] / total) : 0);
      cell.title = t("card.called", { count: row[i], total, name: voice.name, other: names[i] });
    });
    const wrong = row.map((count, i) => [count, i]).filter(([count, i]) => count && i !== voice.top).sort((a, b) => b[0] - a[0]);
    const mistakes = wrong.slice(0, 2).map(([count, i]) => t("card.taken", { count, name: names[i] })).join(", ");
    card.querySelector(".confusion p").textContent =
      t(mistakes ? "card.mistakes" : "card.right", { name: voice.name, right: row[voice.top], total, mistakes });
  }
}

/** Paint what a network was given, with where it looked on top. */
export function paintSeen(canvas, seen, saliency) {
  canvas.width = canvas.height = seen.side;
  const context = canvas.getContext("2d");
  const image = context.createImageData(seen.side, seen.side);
  for (let row = 0; row < seen.side; row++) {
    for (let column = 0; column < seen.side; column++) {
      const at = 4 * (row * seen.side + column);
      const heat = saliency ? (saliency[row][column] / 255) ** 0.8 : 0;
      const warm = [255, 110 + 110 * heat, 20];
      for (let channel = 0; channel < 3; channel++) {
        let level = seen.pixels[seen.channels === 3 ? channel : 0][row][column];
        if (saliency) level *= 0.62;
        image.data[at + channel] = level * (1 - heat) + warm[channel] * heat;
      }
      image.data[at + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
}
