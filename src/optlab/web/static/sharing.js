// What leaves the page: its address, the drawing, the answers, the command to copy.

import { t } from "./i18n.js";

/** Keep what is chosen in the address, so that a link or a reload shows the same. */
export function writeUrl(chosen) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(chosen)) {
    if (value || value === 0) query.set(name, value);
    else query.delete(name);
  }
  history.replaceState(null, "", `?${query}`);
}

/** Copy an element's text; where the browser forbids it (plain http), select it and say so. */
export async function copy(element, button, say) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    button.textContent = t("copy.done");
    setTimeout(() => (button.textContent = t("copy")), 1500);
  } catch {
    getSelection().selectAllChildren(element);
    say(t("copy.forbidden"));
  }
}

/** Offer a blob, as it is, as a download; a picture keeps the ending of its own format. */
export function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  const format = /^image\/(\w+)/.exec(blob.type)?.[1];
  link.download = format ? name.replace(/\w+$/, format) : name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A line for each run, for each optimizer's mean and for the ensemble, with all probabilities. */
export function answersAsCsv({ study, step, class_names: names, optimizers, ensemble }) {
  const cell = (value) => (/[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
  const line = (optimizer, run, said) => [study, optimizer, run, said.step ?? step ?? "", said.name, ...said.probabilities];
  const rows = [
    ["study", "optimizer", "run", "step", "answer", ...names],
    ...optimizers.flatMap((said) => [...said.models.map((model) => line(said.optimizer, model.id, model)), line(said.optimizer, "mean", said)]),
    line("ensemble", "mean", ensemble),
  ];
  return new Blob([rows.map((row) => row.map(cell).join(",") + "\r\n").join("")], { type: "text/csv" });
}
