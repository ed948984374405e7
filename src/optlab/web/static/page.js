// The page: what is chosen, what is drawn, and who is asked. One question is under way at a time;
// whatever was drawn in the meantime is asked next, so answers never queue up.

import { NO_ANSWER, listModels, predict, readModel, readStudy } from "./api.js";
import { Answers, make, paintSeen, percent } from "./answers.js";
import { lineChart } from "./charts.js";
import { Pad } from "./drawing.js";

const $ = (id) => document.getElementById(id);
const POLL_MS = 5_000;
const SPEAK_MS = 700; // a screen reader hears the answer when the pen has rested this long

const state = {
  models: null, // what /api/models said last
  study: null, // its entry
  optimizer: null, // null: all of them
  model: null, // one run alone
  details: new Map(), // of models, by id
  detail: null, // of the study
  last: null, // the newest prediction
};
const answers = new Answers();
const pad = new Pad($("pad"), drawn);

// ------------------------------------------------------------------ asking

let asking = false;
let askAgain = false;
let speakTimer = 0;

async function ask() {
  if (!state.study) return;
  if (asking) {
    askAgain = true;
    return;
  }
  asking = true;
  try {
    do {
      askAgain = false;
      const chosen = { study: state.study.name, optimizer: state.optimizer, model: state.model };
      const picture = await pad.toBlob();
      const prediction = await predict(picture, { ...chosen, saliency: $("saliency").checked });
      const stillChosen = chosen.study === state.study?.name && chosen.optimizer === state.optimizer && chosen.model === state.model;
      if (stillChosen) show(prediction);
      toast("");
    } while (askAgain);
  } catch (error) {
    toast(error.message);
  } finally {
    asking = false;
  }
  if (askAgain) ask(); // drawn on while the question failed
}

function drawn() {
  $("pad-hint").hidden = !pad.isEmpty;
  $("undo").disabled = $("clear").disabled = pad.isEmpty;
  ask();
}

/** Those who would answer, before there is anything to say. */
function silentOptimizers() {
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
  const colour = (name) => state.models.styles[name]?.colour ?? "#777777";
  const byId = new Map(state.models.models.map((model) => [model.id, model]));
  const describe = (model) => (model ? `${model.run_name}, ${model.network}, seed ${model.seed}` : "");
  if (!state.optimizer) {
    return optimizers.map((said) => {
      const best = said.models.map(({ id }) => byId.get(id)).filter(Boolean)
        .sort((a, b) => (b.val_accuracy ?? 0) - (a.val_accuracy ?? 0))[0];
      return { ...said, key: said.optimizer, title: title(said.optimizer), runs: said.models.length, colour: colour(said.optimizer), model: best, subtitle: describe(best) };
    });
  }
  return optimizers.flatMap((said) =>
    said.models.map((each) => {
      const model = byId.get(each.id);
      return { ...each, key: each.id, title: model?.run_name ?? each.id, colour: colour(said.optimizer), saliency: said.models.length === 1 ? said.saliency : null, model, subtitle: describe(model) };
    }),
  );
}

function show(prediction) {
  state.last = prediction;
  $("voices-section").hidden = false;
  $("voices-title").textContent = state.optimizer ? "Run by run" : "Optimizer by optimizer";
  $("seen").setAttribute("aria-label", prediction.blank ? "Nothing yet" : `The picture as ${prediction.seen.side} by ${prediction.seen.side} pixels`);
  if (prediction.blank) {
    paintSeen($("seen"), prediction.seen, null);
    for (const why of document.querySelectorAll(".why")) why.hidden = true;
    const sentence = pad.isEmpty ? "Blank canvas: nothing to answer yet." : "Still blank: too little ink to be a drawing.";
    answers.rest(sentence, prediction.class_names, voicesOf(silentOptimizers()), state.details);
    speak(sentence);
    return;
  }
  const voices = voicesOf(prediction.optimizers);
  const who = state.model ? "One model’s answer" : state.optimizer ? `The answer of ${state.models.styles[state.optimizer]?.title ?? state.optimizer}` : "The ensemble’s answer";
  const sentence = answers.show(prediction, voices, state.details, who);
  paintSeen($("seen"), prediction.seen, prediction.ensemble.saliency);
  voices.forEach((voice, i) => {
    const why = $("voices").children[i].querySelector(".why");
    why.hidden = !voice.saliency;
    if (voice.saliency) paintSeen(why, prediction.seen, voice.saliency);
  });
  $("left-out").hidden = !prediction.num_left_out;
  $("left-out").textContent = `${prediction.num_left_out} more runs were not asked; choose one by its name.`;
  const top = prediction.ensemble;
  speak(`${who}: ${top.name}, ${percent(top.probabilities[top.top], 0)} sure. ${sentence}`);
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

function chooseStudy(name) {
  state.study = state.models.studies.find((study) => study.name === name) ?? null;
  state.optimizer = state.model = null;
  const pictures = state.study?.reads === "picture";
  document.body.classList.toggle("picture-mode", pictures);
  if (pad.readOnly !== pictures) {
    pad.readOnly = pictures;
    pad.clear();
  }
  $("pad-hint").replaceChildren(
    make("b", "", pictures ? "Drop a picture here" : "Draw a digit here"),
    make("span", "", pictures ? "or paste or open one" : "mouse, finger or pen"),
  );
  $("sees-text").textContent = state.study?.preparation ?? "";
  $("tagline").textContent = pictures ? "Drop a picture. Every optimizer’s model answers." : "Draw a digit. Every optimizer’s model answers.";
  if (!penChosen && state.study?.pen_width) setPen(state.study.pen_width);
  showOptimizers();
  readDetails();
  ask();
}

function showOptimizers() {
  const chip = (value, label, colour) => {
    const input = make("input");
    Object.assign(input, { type: "radio", name: "optimizer", value, checked: value === (state.optimizer ?? "") });
    const text = make("span", "", ...(colour ? [make("i")] : []), label);
    if (colour) text.style.setProperty("--voice", colour);
    return make("label", "", input, text);
  };
  const hadFocus = $("optimizer-chips").contains(document.activeElement);
  $("optimizer-chips").replaceChildren(
    chip("", "All optimizers", null),
    ...state.study.optimizers.map((name) => chip(name, state.models.styles[name].title, state.models.styles[name].colour)),
  );
  if (hadFocus) $("optimizer-chips").querySelector("input:checked").focus();
  showRuns();
}

function showRuns() {
  const runs = state.models.models.filter((model) => model.study_name === state.study.name && model.optimizer === state.optimizer);
  $("run-choice").hidden = runs.length < 2;
  $("run").replaceChildren(
    new Option("its best configuration", ""),
    ...runs.map((run) => new Option(`${run.run_name} · ${run.network} · rate ${run.lr ?? "–"} · test ${run.test_accuracy === null ? "–" : percent(run.test_accuracy)}`, run.id)),
  );
  $("run").value = state.model ?? "";
}

// ------------------------------------------------------------------ the study

async function readDetails() {
  const study = state.study;
  try {
    const detail = await readStudy(study.name);
    if (study !== state.study) return;
    state.detail = detail;
    showStudy();
    const ids = state.models.models
      .filter((model) => model.study_name === study.name && (model.answers_by_default || model.id === state.model) && !state.details.has(model.id))
      .map((model) => model.id)
      .slice(0, 40);
    await Promise.all(ids.map(async (id) => state.details.set(id, await readModel(id))));
    if (study === state.study && state.last?.study === study.name) ask();
  } catch (error) {
    toast(error.message);
  }
}

function showStudy() {
  const { detail, models } = state;
  $("glance").hidden = false;
  $("glance-title").textContent = detail.title;
  $("glance-text").textContent = `${detail.dataset}. Ranked by validation accuracy; means over the runs of each optimizer’s best configuration.`;
  $("report").hidden = !detail.report_url;
  if (detail.report_url) $("report").href = detail.report_url;
  showChart();
  $("table").tBodies[0].replaceChildren(
    ...detail.rows.map((row, rank) => {
      const style = models.styles[row.optimizer];
      const dot = make("i");
      dot.style.setProperty("--voice", style.colour);
      const name = make("th", "", dot, style.title);
      name.scope = "row";
      const number = (value, text) => make("td", "", value === null ? "–" : text(value));
      const chosenBy = number(row.val_accuracy, (value) => percent(value, 2));
      if (rank === 0 && row.num_runs) chosenBy.classList.add("best");
      const accuracy = number(row.test_accuracy, (value) => percent(value, 2));
      if (row.num_runs > 1) accuracy.append(make("small", "", `${percent(row.test_accuracy_min, 2)} to ${percent(row.test_accuracy_max, 2)}`));
      const runs = make("td", "", String(row.num_runs));
      if (row.num_diverged) runs.append(make("small", "bad", `${row.num_diverged} diverged`));
      if (row.num_failed) runs.append(Object.assign(make("small", "bad", `${row.num_failed} failed`), { title: row.reasons.join("\n") }));
      if (row.num_other_runs) runs.append(make("small", "", `${row.num_other_runs} other`));
      return make("tr", "", name, chosenBy, accuracy,
        number(row.lr, (value) => String(+value.toPrecision(3))),
        number(row.train_time_s, (value) => `${value.toPrecision(3)} s`), runs);
    }),
  );
}

function showChart() {
  const metric = document.querySelector("input[name=metric]:checked").value;
  const labels = { train_loss: "training loss (cross-entropy)", val_loss: "validation loss (cross-entropy)", val_accuracy: "validation accuracy" };
  const lines = state.detail.rows.filter((row) => row.curve).map((row) => {
    const style = state.models.styles[row.optimizer];
    return { name: style.title, colour: style.colour, dashes: style.dashes, xs: row.curve.epochs, ys: row.curve[metric] };
  });
  $("chart").replaceChildren(
    lineChart(lines, { title: `${labels[metric]} of ${lines.map((line) => line.name).join(", ")}`, yLabel: labels[metric], percent: metric === "val_accuracy", width: Math.min(640, Math.max(300, $("chart").clientWidth)) }),
  );
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
  if ($("toast").textContent === NO_ANSWER) toast("");
  const now = JSON.stringify(models);
  if (now === known) return;
  known = now;
  state.models = models;
  const ready = models.studies.filter((study) => study.optimizers.length);
  showEmpty(ready.length === 0, models.training);
  if (!ready.length) {
    state.study = null;
    return;
  }
  $("study-choice").hidden = ready.length < 2;
  $("study").replaceChildren(...ready.map((study) => new Option(study.title, study.name)));
  const same = ready.find((study) => study.name === state.study?.name);
  if (!same) chooseStudy(models.default_study);
  else {
    state.study = same; // newly trained models join in
    if (state.optimizer && !same.optimizers.includes(state.optimizer)) state.optimizer = state.model = null;
    if (!models.models.some((model) => model.id === state.model && model.study_name === same.name)) state.model = null;
    state.details.clear();
    showOptimizers();
    readDetails();
    ask();
  }
  $("study").value = state.study.name;
}

function showEmpty(none, training) {
  document.querySelector(".stage").classList.toggle("no-models", none);
  $("empty").hidden = !none;
  $("empty").classList.toggle("training", training);
  $("empty-title").textContent = training ? "Training five optimizers on the embedded digits" : "No trained model yet";
  $("empty-text").textContent = training
    ? "About a minute. Each model appears here as soon as it is ready; the canvas already works."
    : "Train five optimizers, for example. Models appear here by themselves, one by one:";
  document.querySelector(".command").hidden = $("empty-try").hidden = training;
  for (const id of ["ensemble", "optimizers"]) $(id).hidden = none;
  document.querySelector(".sees").hidden = none;
  if (none) for (const id of ["voices-section", "glance", "study-choice"]) $(id).hidden = true;
}

// ------------------------------------------------------------------ pictures

async function openPicture(file) {
  if (!file) return;
  try {
    pad.show(await createImageBitmap(file), file);
  } catch {
    toast("That file is no picture that this browser can open.");
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
  ask();
});
$("study").addEventListener("change", () => chooseStudy($("study").value));
$("optimizer-chips").addEventListener("change", (event) => {
  state.optimizer = event.target.value || null;
  state.model = null;
  showRuns();
  ask();
});
$("run").addEventListener("change", async () => {
  state.model = $("run").value || null;
  ask();
  if (state.model) await readDetails();
});
$("metrics").addEventListener("change", showChart);
let chartWidth = 0;
new ResizeObserver(([{ contentRect }]) => {
  if (state.detail && Math.abs(contentRect.width - chartWidth) > 8) {
    chartWidth = contentRect.width;
    showChart();
  }
}).observe($("chart"));
$("copy").addEventListener("click", async () => {
  await navigator.clipboard?.writeText($("command").textContent);
  $("copy").textContent = "Copied";
  setTimeout(() => ($("copy").textContent = "Copy"), 1500);
});

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

$("undo").disabled = $("clear").disabled = true;
await refresh();
setInterval(() => document.hidden || refresh(), POLL_MS);
