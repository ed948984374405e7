// The study at a glance: its curves, its table, and what is missing from both.

import { make } from "./answers.js";
import { Curves } from "./curves.js";
import { number, percent, significant, t } from "./i18n.js";

const $ = (id) => document.getElementById(id);
let curves = null;

/** @param {object} detail what /api/studies says  @param {object} styles by optimizer */
export function showStudy(detail, styles) {
  $("glance").hidden = false;
  $("glance-title").textContent = detail.title;
  const text = [t("glance.text", { dataset: detail.dataset })];
  if (detail.judged_weights.length) text.push(t(`glance.${detail.judged_weights}`));
  $("glance-text").textContent = text.join(" ");
  $("report").hidden = !detail.report_url;
  if (detail.report_url) $("report").href = detail.report_url;
  $("chart").hidden = !detail.curves.length;
  if (detail.curves.length) {
    curves ??= new Curves($("chart"), t);
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
  const cell = (value, text) => make("td", "", value === null ? "–" : text(value));
  const chosenBy = cell(row.val_accuracy, (value) => percent(value, 2));
  if (row.val_accuracy === best) chosenBy.classList.add("best");
  const accuracy = cell(row.test_accuracy, (value) => percent(value, 2));
  if (row.num_runs > 1) accuracy.append(make("small", "", t("table.range", { low: percent(row.test_accuracy_min, 2), high: percent(row.test_accuracy_max, 2) })));
  const runs = make("td", "", number(row.num_runs));
  if (row.num_diverged) runs.append(make("small", "bad", t("table.diverged", { count: row.num_diverged })));
  if (row.num_failed) runs.append(Object.assign(make("small", "bad", t("table.failed", { count: row.num_failed })), { title: row.reasons.join("\n") }));
  if (row.num_other_runs) runs.append(make("small", "", t("table.other", { count: row.num_other_runs })));
  return make("tr", "", name, chosenBy, accuracy,
    cell(row.lr, (value) => significant(value, 3)),
    cell(row.train_time_s, (value) => t("table.seconds", { value: significant(value, 3) })), runs);
}

/** Say which runs do not answer, and why: of one study's folder, or of all where it is undefined. */
export function showMissing(list, { unfinished, unusable }, folder) {
  const isShown = (run) => folder === undefined || run.study === folder;
  const line = (run, text) => make("li", "", make("b", "", run.run), `: ${text}`);
  list.replaceChildren(
    ...unfinished.filter(isShown).map((run) => line(run, t(run.training ? "missing.training" : "missing.interrupted", { count: run.num_epochs }))),
    ...unusable.filter(isShown).map((run) => line(run, run.problem)),
  );
  list.parentElement.hidden = !list.childElementCount;
}
