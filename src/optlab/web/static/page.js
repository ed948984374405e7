// The page: what is chosen, what is drawn, and who is asked. One question is under way at a time;
// whatever was drawn in the meantime is asked next, so answers never queue up.

import { NO_ANSWER, listModels, predict, readModel, readStudy } from "./api.js";
import { Answers, make, paintSeen, rounded } from "./answers.js";
import { Pad } from "./drawing.js";
import { showGallery } from "./gallery.js";
import { otherLanguage, percent, significant, t } from "./i18n.js";
import { Inside } from "./inside.js";
import { answersAsCsv, copy, save, writeUrl } from "./sharing.js";
import { LiveRace } from "./race.js";
import { showMissing, showStudy } from "./study.js";
import { startSurface } from "./surface.js";
import { Timeline, at } from "./timeline.js";

const $ = (id) => document.getElementById(id);
const POLL_MS = 5_000;
const NOVELTY_MS = 2_000; // until the question is repeated whose drawing could not be compared yet
const SPEAK_MS = 700; // a screen reader hears the answer when the pen has rested this long

const state = {
  models: null, // what /api/models said last
  study: null, // its entry
  optimizer: null, // null: all of them
  model: null, // a single run
  details: new Map(), // of models, by id
  detail: null, // of the study
  step: null, // of the address, until the study's moments are known
};
const answers = new Answers();
const pad = new Pad($("pad"), drawn);
const timeline = new Timeline(() => {
  writeUrl({ step: timeline.step });
  ask();
});
const inside = new Inside(pad);
const race = new LiveRace(() => pad.toBlob(), toast);

// ------------------------------------------------------------------ asking

let asking = false;
let askAgain = false;
let last = null; // the newest prediction, while it answers what is drawn
let showAgain = () => {}; // with details that have arrived since
let failure = ""; // why the newest failed question failed
let speakTimer = 0;
let noveltyTimer = 0;

async function ask() {
  if (!state.study?.optimizers.length) return; // nobody to ask
  if (asking) {
    askAgain = true;
    return;
  }
  asking = true;
  const chosen = { study: state.study.name, optimizer: state.optimizer, model: state.model, step: timeline.step };
  const isStillChosen = () => chosen.study === state.study?.name && chosen.optimizer === state.optimizer && chosen.model === state.model;
  try {
    const prediction = await predict(await pad.toBlob(), { ...chosen, saliency: $("saliency").checked });
    if (isStillChosen()) show(prediction);
    if ($("toast").textContent === failure) toast(""); // other messages stay
  } catch (error) {
    failure = error.message;
    toast(failure);
    if (isStillChosen()) showNoAnswer(t("answer.none"), error.message);
  } finally {
    asking = false;
  }
  if (askAgain) {
    askAgain = false;
    ask();
  }
}

function drawn() {
  $("pad-hint").hidden = !pad.isEmpty;
  $("undo").disabled = !pad.canUndo;
  $("clear").disabled = pad.isEmpty;
  ask();
  race.redraw();
}

/** The chosen runs by optimizer: those who would answer. */
function chosenOptimizers() {
  const models = state.models.models.filter((model) => model.study_name === state.study.name);
  return state.study.optimizers
    .filter((name) => !state.optimizer || name === state.optimizer)
    .map((optimizer) => ({
      optimizer,
      models: models.filter((model) => model.optimizer === optimizer && (state.model ? model.id === state.model : model.answers_by_default)),
    }));
}

/** One voice a card: an optimizer, or a run where one optimizer was chosen. */
function voicesOf(optimizers) {
  const title = (name) => state.models.styles[name]?.title ?? name;
  const color = (name) => state.models.styles[name]?.color ?? "#777777";
  const byId = new Map(state.models.models.map((model) => [model.id, model]));
  const describe = (model) => (model ? t("run.description", { run: model.run_name, network: model.network, seed: String(model.seed) }) : "");
  if (!state.optimizer) {
    const chosen = new Map(chosenOptimizers().map(({ optimizer, models }) => [optimizer, models.length]));
    return optimizers.map((said) => {
      const best = said.models.map(({ id }) => byId.get(id)).filter(Boolean)
        .sort((a, b) => (b.val_accuracy ?? 0) - (a.val_accuracy ?? 0))[0];
      const runs = Math.max(said.models.length, chosen.get(said.optimizer) ?? 0);
      const step = said.models.find(({ id }) => id === best?.id)?.step;
      return { ...said, step, key: said.optimizer, title: title(said.optimizer), answered: said.models.length, runs, color: color(said.optimizer), model: best, subtitle: describe(best) };
    });
  }
  return optimizers.flatMap((said) =>
    said.models.map((each) => {
      const model = byId.get(each.id);
      return { ...each, key: each.id, title: model?.run_name ?? each.id, color: color(said.optimizer), saliency: said.models.length === 1 ? said.saliency : null, model, subtitle: describe(model) };
    }),
  );
}

function show(prediction) {
  $("voices-section").hidden = false;
  $("voices-title").textContent = t(state.optimizer ? "cards.runs" : "cards");
  $("left-out").hidden = true;
  if (prediction.blank) {
    showNoAnswer(t("answer.blank"), t(pad.isEmpty ? "answer.empty" : "answer.speck"));
    paintSeen($("seen"), prediction.seen, null);
    return;
  }
  last = prediction;
  clearTimeout(noveltyTimer);
  if (prediction.novelty_pending) noveltyTimer = setTimeout(ask, NOVELTY_MS);
  showAgain = () => show(prediction);
  const voices = voicesOf(prediction.optimizers);
  const name = state.models.styles[state.optimizer]?.title ?? state.optimizer;
  const who = at(prediction.step, state.model ? t("answer.model") : state.optimizer ? t("answer.optimizer", { name }) : t("answer.ensemble"));
  const sentence = answers.show(prediction, voices, state.details, who);
  $("voices").classList.toggle("at-moment", prediction.step !== null);
  paintSeen($("seen"), prediction.seen, prediction.ensemble.saliency);
  $("seen").setAttribute("aria-label", t("sees.label", { side: prediction.seen.side }));
  voices.forEach((voice, i) => {
    const why = $("voices").children[i].querySelector(".why");
    why.hidden = !voice.saliency;
    if (voice.saliency) paintSeen(why, prediction.seen, voice.saliency);
  });
  const leftOut = prediction.num_left_out ? [t("cards.left_out", { count: prediction.num_left_out })] : [];
  const names = new Map(state.models.models.map((model) => [model.id, model.run_name]));
  leftOut.push(...prediction.unanswered.map(({ id, problem }) => t("cards.cannot", { run: names.get(id) ?? id, problem })));
  if (prediction.no_novelty) leftOut.push(t("cards.no_novelty", { reason: t(`novelty.${prediction.no_novelty}`) }));
  $("left-out").hidden = !leftOut.length;
  $("left-out").textContent = leftOut.join(" ");
  $("answers-csv").disabled = false;
  const top = prediction.ensemble;
  speak(t("answer.spoken", { who, name: top.name, percent: rounded(top.probabilities[top.top]), sentence }));
  readDetails(voices);
  const { study, optimizer, model, models } = state;
  inside.update(prediction, voices, { study: study.name, optimizer, model, step: prediction.step }, models.styles);
}

/** Take the old answer away and say why there is no new one. */
function showNoAnswer(title, sentence) {
  last = null;
  showAgain = () => showNoAnswer(title, sentence);
  const voices = voicesOf(chosenOptimizers());
  answers.rest(title, sentence, state.study.class_names, voices, state.details);
  $("seen").getContext("2d").clearRect(0, 0, $("seen").width, $("seen").height);
  $("seen").setAttribute("aria-label", t("sees.nothing"));
  $("answers-csv").disabled = true;
  inside.update(null);
  speak(sentence);
  readDetails(voices);
}

function speak(sentence) {
  clearTimeout(speakTimer);
  speakTimer = setTimeout(() => {
    if ($("live").textContent !== sentence) $("live").textContent = sentence;
  }, SPEAK_MS);
}

function toast(sentence) {
  $("toast").hidden = !sentence;
  if ($("toast").textContent !== sentence) $("toast").textContent = sentence;
}

// ------------------------------------------------------------------ choosing

function chooseStudy(study, { optimizer = null, model = null, step = null } = {}) {
  Object.assign(state, { study, detail: null, step });
  $("gallery").hidden = $("glance").hidden = true; // until those of this study are there
  choose(optimizer, model);
  timeline.show([]); // may ask, so it comes after the choice
  showAgain = () => {};
  const pictures = study.reads === "picture";
  document.body.classList.toggle("picture-mode", pictures);
  pad.setReadOnly(pictures);
  $("pad-hint").replaceChildren(
    make("b", "", t(pictures ? "pad.drop" : "pad.draw")),
    make("span", "", t(pictures ? "pad.or" : "pad.tools")),
  );
  $("sees-text").textContent = t(`preparation.${study.preparation}`);
  $("tagline").textContent = t(pictures ? "page.tagline_picture" : "page.tagline");
  if (!penChosen && study.pen_width) setPen(study.pen_width);
  showChosenStudy();
}

/** One optimizer, or all; one of its runs, or its best configuration. Names that are not there count as none. */
function choose(optimizer, model) {
  state.optimizer = state.study.optimizers.includes(optimizer) ? optimizer : null;
  const isRun = (each) => each.id === model && each.study_name === state.study.name && each.optimizer === state.optimizer;
  state.model = state.models.models.some(isRun) ? model : null;
  writeUrl({ study: state.study.name, optimizer: state.optimizer, run: state.model });
}

function showChosenStudy() {
  showEmpty(state.study.optimizers.length === 0);
  showOptimizers();
  readStudyDetail();
  ask();
}

function showOptimizers() {
  const chip = (value, label, color) => {
    const input = make("input");
    Object.assign(input, { type: "radio", name: "optimizer", value, checked: value === (state.optimizer ?? "") });
    const text = make("span", "", ...(color ? [make("i")] : []), label);
    if (color) text.style.setProperty("--voice", color);
    return make("label", "", input, text);
  };
  const hadFocus = $("optimizer-chips").contains(document.activeElement);
  $("optimizer-chips").replaceChildren(
    chip("", t("who.all"), null),
    ...state.study.optimizers.map((name) => chip(name, state.models.styles[name].title, state.models.styles[name].color)),
  );
  if (hadFocus) $("optimizer-chips").querySelector("input:checked").focus();
  showRuns();
}

function showRuns() {
  const runs = state.models.models.filter((model) => model.study_name === state.study.name && model.optimizer === state.optimizer);
  $("run-choice").hidden = runs.length < 2;
  $("run").replaceChildren(
    new Option(t("run.best"), ""),
    ...runs.map((run) => {
      const [lr, accuracy] = [run.lr === null ? "–" : significant(run.lr, 3), run.test_accuracy === null ? "–" : percent(run.test_accuracy)];
      return new Option(t("run.option", { run: run.run_name, network: run.network, lr, accuracy }), run.id);
    }),
  );
  $("run").value = state.model ?? "";
}

// ------------------------------------------------------------------ the study

async function readStudyDetail() {
  const { study } = state;
  try {
    const detail = await readStudy(study.name);
    if (study !== state.study) return;
    state.detail = detail;
    showStudy(detail, state.models.styles);
    timeline.show(detail.moments, state.step ?? timeline.step);
    state.step = null;
    writeUrl({ step: timeline.step });
    const models = state.models.models.filter((model) => model.study_name === study.name);
    showGallery(study, state.models.styles, JSON.stringify([study, models]), openPicture);
  } catch (error) {
    toast(error.message);
  }
}

/** Read curve and confusion matrix of each voice's run once, and show them when they are there. */
async function readDetails(voices) {
  const missing = voices.map((voice) => voice.model?.id).filter((id) => id && !state.details.has(id));
  if (!missing.length) return;
  const { details } = state;
  for (const id of missing) details.set(id, null); // under way
  const found = await Promise.allSettled(missing.map(readModel));
  found.forEach(({ value }, i) => value && details.set(missing[i], value));
  showAgain();
}

// ------------------------------------------------------------------ what there is

let known = "";

async function refresh() {
  let models;
  try {
    models = await listModels();
  } catch (error) {
    toast(error.message);
    return;
  }
  const isBack = $("toast").textContent === NO_ANSWER;
  if (isBack) toast("");
  const now = JSON.stringify(models);
  if (now === known) {
    if (!isBack) return;
    for (const [id, detail] of state.details) if (!detail) state.details.delete(id);
    ask(); // what could not be asked in the meantime
    return;
  }
  known = now;
  $("join").hidden = !models.address;
  race.offer(models.can_race);
  const before = state.models;
  state.models = models;
  showMissing($("missing"), models, state.study?.folder);
  if (!models.studies.length) {
    state.study = null;
    showEmpty(true);
    return;
  }
  $("study-choice").hidden = models.studies.length < 2;
  $("study").replaceChildren(
    ...models.studies.map((study) => new Option(study.optimizers.length ? study.title : t("study.without_model", { title: study.title }), study.name)),
  );
  const named = (name) => models.studies.find((study) => study.name === name);
  const same = named(state.study?.name);
  if (same) {
    const unchanged = new Set(before.models.map((model) => JSON.stringify(model)));
    for (const model of models.models) if (!unchanged.has(JSON.stringify(model))) state.details.delete(model.id);
    state.study = same; // newly trained models join in
    choose(state.optimizer, state.model);
    showChosenStudy();
  } else {
    const wanted = new URLSearchParams(location.search);
    const study = named(wanted.get("study"));
    chooseStudy(study ?? named(models.default_study) ?? models.studies[0], study && { optimizer: wanted.get("optimizer"), model: wanted.get("run"), step: wanted.has("step") ? Number(wanted.get("step")) : null });
    if (!study && wanted.has("study")) toast(t("study.unknown", { name: wanted.get("study") }));
  }
  $("study").value = state.study.name;
}

/** Without a model to ask: say what is the matter and what to do. */
function showEmpty(isEmpty) {
  const { training, train_command: command } = state.models;
  document.querySelector(".stage").classList.toggle("no-models", isEmpty);
  $("empty").hidden = !isEmpty;
  for (const each of [$("ensemble"), $("optimizers"), $("inside"), document.querySelector(".sees")]) each.hidden = isEmpty;
  if (isEmpty) $("voices-section").hidden = true;
  showMissing($("missing"), state.models, state.study?.folder);
  if (!state.study) $("gallery").hidden = $("glance").hidden = $("study-choice").hidden = true;
  if (!isEmpty) return;
  $("empty").classList.toggle("training", training);
  $("empty-title").textContent = t(training ? "empty.training" : state.study ? "empty.study" : "empty");
  $("empty-text").textContent = t(training ? "empty.minute" : state.study ? "empty.diverged" : command ? "empty.train" : "empty.elsewhere");
  const offers = Boolean(command) && !training && !state.study;
  document.querySelector(".command").hidden = $("empty-try").hidden = !offers;
  $("command").textContent = command ?? "";
}

// ------------------------------------------------------------------ pictures

async function openPicture(file) {
  if (!file) return;
  try {
    pad.show(await createImageBitmap(file), file);
    toast("");
  } catch {
    toast(t("picture.unreadable"));
  }
}

$("open").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  openPicture($("file").files[0]);
  $("file").value = "";
});
addEventListener("paste", (event) => openPicture(event.clipboardData?.files[0]));
for (const name of ["dragenter", "dragover"]) {
  addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.add("dropping");
  });
}
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("drop").classList.remove("dropping");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("dropping");
  openPicture(event.dataTransfer?.files[0]);
});

// ------------------------------------------------------------------ controls

$("undo").addEventListener("click", () => pad.undo());
$("clear").addEventListener("click", () => pad.clear());
let lastExample = -1;
$("example").addEventListener("click", () => {
  let digit;
  do digit = Math.floor(Math.random() * 10);
  while (digit === lastExample);
  lastExample = digit;
  pad.example(digit);
});
addEventListener("keydown", (event) => {
  const undoes = (event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z";
  if (undoes) {
    event.preventDefault();
    pad.undo();
  }
});
let penChosen = false; // by hand; until then the pen is as wide as the data set's
function setPen(width) {
  $("width").value = String(width);
  pad.penWidth = width;
  $("width-dot").style.setProperty("--pen-size", `${width}px`);
}
$("width").addEventListener("input", () => {
  penChosen = true;
  setPen(Number($("width").value));
});
$("saliency").addEventListener("change", () => {
  $("why-text").hidden = !$("saliency").checked;
  $("sees-text").hidden = $("saliency").checked;
  writeUrl({ why: $("saliency").checked && "1" });
  ask();
});
$("study").addEventListener("change", () => {
  toast("");
  chooseStudy(state.models.studies.find((study) => study.name === $("study").value));
});
$("optimizer-chips").addEventListener("change", (event) => {
  choose(event.target.value, null);
  showRuns();
  ask();
});
$("run").addEventListener("change", () => {
  choose(state.optimizer, $("run").value);
  ask();
});
$("copy").addEventListener("click", () => copy($("command"), $("copy"), toast));
$("drawing-png").addEventListener("click", async () => save("drawing.png", await pad.toBlob()));
$("answers-csv").addEventListener("click", () => save("answers.csv", answersAsCsv(last)));

$("join").addEventListener("click", () => {
  $("join-address").textContent = state.models.address;
  $("join-code").src = "/api/qr.svg";
  $("join-dialog").showModal();
});
function setProjector(isOn) {
  document.body.classList.toggle("projector", isOn);
  $("projector").setAttribute("aria-pressed", String(isOn));
  writeUrl({ projector: isOn && "1" });
}
$("projector").addEventListener("click", () => setProjector(!document.body.classList.contains("projector")));
setProjector(new URLSearchParams(location.search).has("projector"));

const darkByDefault = matchMedia("(prefers-color-scheme: dark)");
function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  pad.paint();
}
let storedTheme = null;
try {
  storedTheme = localStorage.getItem("theme");
} catch {
  // storage is switched off; the theme then lasts for this visit
}
setTheme(storedTheme);
darkByDefault.addEventListener("change", () => pad.paint());
$("theme").addEventListener("click", () => {
  const current = document.documentElement.dataset.theme ?? (darkByDefault.matches ? "dark" : "light");
  const next = current === "dark" ? "light" : "dark";
  setTheme(next);
  try {
    localStorage.setItem("theme", next);
  } catch {
    // as above
  }
});

// Another language is the same page loaded again; strokes come along.
$("language").hidden = false;
$("language").lang = $("language").hreflang = otherLanguage;
$("language").addEventListener("click", (event) => {
  event.preventDefault();
  try {
    sessionStorage.setItem("strokes", JSON.stringify(pad.strokes));
  } catch {
    // storage is switched off; the canvas will be blank
  }
  const query = new URLSearchParams(location.search);
  query.set("lang", otherLanguage);
  location.search = query;
});

if (new URLSearchParams(location.search).has("why")) $("saliency").click();
startSurface(toast);
$("undo").disabled = $("clear").disabled = true;
try {
  const strokes = JSON.parse(sessionStorage.getItem("strokes"));
  sessionStorage.removeItem("strokes");
  if (strokes?.length) pad.draw(strokes);
} catch {
  // as above
}
await refresh();
setInterval(() => document.hidden || refresh(), POLL_MS);
