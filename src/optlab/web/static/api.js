// Talking to the server. Errors become sentences that can be shown as they are.

import { t } from "./i18n.js";

export const NO_ANSWER = t("error.silent");
const SAID_HERE = [408, 409, 413, 500]; // what the server says of other errors has names in it, and is English

async function answerOf(request) {
  let response;
  try {
    response = await request;
  } catch {
    throw new Error(NO_ANSWER);
  }
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Error(errorText(response.status, body?.detail));
  return body;
}

function errorText(status, detail) {
  if (SAID_HERE.includes(status)) return t(`error.${status}`);
  return detail ?? t("error.other", { status });
}

const get = (path) => answerOf(fetch(path, { signal: AbortSignal.timeout(10_000) }));

export const listModels = () => get("/api/models");
export const readModel = (id) => get(`/api/models/${encodeURIComponent(id)}`);
export const readGallery = (name) => get(`/api/studies/${encodeURIComponent(name)}/gallery`);
export const readStudy = (name) => get(`/api/studies/${encodeURIComponent(name)}`);
export const listSurfaces = () => get("/api/surfaces");
export const runRace = (surface, question) => get(`/api/surfaces/${encodeURIComponent(surface)}/race?${new URLSearchParams(question)}`);
const sendPicture = (path, method, picture) =>
  fetch(path, { method, headers: { "content-type": picture.type }, body: picture, signal: AbortSignal.timeout(20_000) });
export const startRace = (picture) => answerOf(sendPicture("/api/race", "POST", picture));
export const redrawRace = (picture) => answerOf(sendPicture("/api/race/drawing", "PUT", picture));

/** Ask for answers: `picture` is a blob of an image, `question` says whom to ask. */
export function predict(picture, question) {
  const query = queryOf(question);
  for (const name of ["saliency", "occlusion"]) if (question[name]) query.set(name, "true");
  return answerOf(sendPicture(`/api/predict?${query}`, "POST", picture));
}

/** Ask about the way from one picture to another. */
export function morph(picture, target, whom) {
  const body = new FormData();
  body.set("file", picture);
  body.set("target", target);
  return answerOf(fetch(`/api/morph?${queryOf(whom)}`, { method: "POST", body, signal: AbortSignal.timeout(20_000) }));
}

/** Ask what the first layers of a model make of a picture. */
export const featureMaps = (model, picture, { step }) =>
  answerOf(sendPicture(`/api/models/${encodeURIComponent(model)}/feature_maps?${queryOf({ step })}`, "POST", picture));

function queryOf({ study, optimizer, model, step }) {
  const query = new URLSearchParams();
  if (study) query.set("study", study);
  if (model) query.set("model", model);
  else if (optimizer) query.set("optimizer", optimizer);
  if (step !== null) query.set("step", step);
  return query;
}
