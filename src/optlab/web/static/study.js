// The study at a glance: its curves, its table, and what is missing from both.

import { make, percent } from "./answers.js";
import { Curves } from "./curves.js";

const $ = (id) => document.getElementById(id);
let curves = null;

/** @param {object} detail what /api/studies says  @param {object} styles by optimizer */
export function showStudy(detail, styles) {
  $("glance").hidden = false;
  $("glance-title").textContent = detail.title;
  const weights = { last: "of the last weights", best: "of the best epoch", "best,last": "of the last weights, with early stopping of the best epoch" }[String(detail.judged_weights)];
  $("glance-text").textContent =
    `${detail.dataset}. Ranked by validation accuracy; means over the runs of each optimizer’s best configuration.` +
    (weights ? ` Accuracies here and in the report are ${weights}; the models above answer with the weights of their best epoch.` : "");
  $("report").hidden = !detail.report_url;
  if (detail.report_url) $("report").href = detail.report_url;
  $("chart").hidden = !detail.curves.length;
  if (detail.curves.length) {
    curves ??= new Curves($("chart"));
    curves.show(detail.curves);
  }
  const best = Math.max(...detail.rows.map((row) => row.val_accuracy ?? 0));
  $("table").tBodies[0].replaceChildren(...detail.rows.map((row) => tableRow(row, styles[row.optimizer], best)));
}

function tableRow(row, style, best) {
  const dot = make("i");
  dot.style.setProperty("--voice", style.color);
  const name = make("th", "", dot, style.title);
  name.scope = "row";
  const number = (value, text) => make("td", "", value === null ? "–" : text(value));
  const chosenBy = number(row.val_accuracy, (value) => percent(value, 2));
  if (row.val_accuracy === best) chosenBy.classList.add("best");
  const accuracy = number(row.test_accuracy, (value) => percent(value, 2));
  if (row.num_runs > 1) accuracy.append(make("small", "", `${percent(row.test_accuracy_min, 2)} to ${percent(row.test_accuracy_max, 2)}`));
  const runs = make("td", "", String(row.num_runs));
  if (row.num_diverged) runs.append(make("small", "bad", `${row.num_diverged} diverged`));
  if (row.num_failed) runs.append(Object.assign(make("small", "bad", `${row.num_failed} failed`), { title: row.reasons.join("\n") }));
  if (row.num_other_runs) runs.append(make("small", "", `${row.num_other_runs} other`));
  return make("tr", "", name, chosenBy, accuracy,
    number(row.lr, (value) => String(+value.toPrecision(3))),
    number(row.train_time_s, (value) => `${value.toPrecision(3)} s`), runs);
}

/** Say which runs do not answer, and why: of one study's folder, or of all where it is undefined. */
export function showMissing(list, { unfinished, unusable }, folder) {
  const isShown = (run) => folder === undefined || run.study === folder;
  const line = (run, text) => make("li", "", make("b", "", run.run), `: ${text}`);
  const epochs = (count) => `${count} ${count === 1 ? "epoch" : "epochs"} done`;
  list.replaceChildren(
    ...unfinished.filter(isShown).map((run) => line(run, run.training ? `in training, ${epochs(run.num_epochs)}` : `was interrupted, ${epochs(run.num_epochs)}; the same command resumes it`)),
    ...unusable.filter(isShown).map((run) => line(run, run.problem)),
  );
  list.parentElement.hidden = !list.childElementCount;
}
