// What the page asks, answered without a server: the study from share.json, a drawing by ONNX
// models that run in this browser. In a folder of `scripts/share.py` this file replaces the api.js
// that talks to a server, and has the same functions.

import * as ort from "./ort.wasm.bundle.min.js";
import { make } from "./answers.js";
import { t } from "./i18n.js";
import { grayOf, numSideBySide, prepare } from "./preparation.js";

export const NO_ANSWER = t("share.silent");
const PATIENCE_MS = 300; // before the page says that models are being loaded

document.documentElement.classList.add("static-page");
ort.env.wasm.numThreads = 1; // more need headers that plain web servers do not send

const promises = new Map(); // of what was asked for, by name; what failed is asked for again

function once(name, ask) {
  if (!promises.has(name)) {
    const promise = ask();
    promises.set(name, promise);
    promise.catch(() => promises.delete(name));
  }
  return promises.get(name);
}

async function read(path) {
  let response;
  try {
    response = await fetch(path);
  } catch {
    throw new Error(NO_ANSWER);
  }
  if (!response.ok) throw new Error(t("error.other", { status: response.status }));
  return response;
}

const share = () => once("share.json", async () => (await read("share.json")).json());

const load = (file) =>
  once(file, async () => {
    const model = await (await read(file)).arrayBuffer();
    return ort.InferenceSession.create(new Uint8Array(model), { executionProviders: ["wasm"] });
  });

/** Sessions of these files. Says so where loading takes a while. */
async function loadAll(files) {
  const note = make("p", "toast", t("share.loading"));
  note.setAttribute("role", "status");
  const timer = setTimeout(() => document.body.append(note), PATIENCE_MS);
  try {
    return await Promise.all(files.map(load));
  } finally {
    clearTimeout(timer);
    note.remove();
  }
}

export async function listModels() {
  const { models, studies } = await share();
  const first = studies[models.default_study].answering;
  first.forEach(({ file }) => load(file).catch(() => {})); // predict says why it fails
  return models;
}
export const readModel = async (id) => (await share()).details[id];
export const readStudy = async (name) => (await share()).studies[name].detail;
export const readGallery = async (name) => (await share()).studies[name].gallery;

const needServer = () => Promise.reject(new Error(NO_ANSWER)); // hidden here, so nobody asks
export const [listSurfaces, runRace, startRace, redrawRace, morph, featureMaps] = Array(6).fill(needServer);

/** Ask for answers, as of the server: `picture` is a blob of an image. */
export async function predict(picture, { study, optimizer, model }) {
  const { detail, channels, answering } = (await share()).studies[study];
  const { class_names: names, image_size: side, preparation } = detail;
  const gray = grayOf(await pixelsOf(picture));
  const pixels = prepare(gray, preparation, side);
  const rows = Array.from({ length: side }, (_, row) => Array.from({ length: side }, (_, column) => pixels?.[row * side + column] ?? 0));
  const prediction = {
    ...{ study, step: null, class_names: names, blank: !pixels },
    seen: { channels, side, pixels: Array(channels).fill(rows) },
    ...{ ensemble: null, optimizers: [], num_left_out: 0, unanswered: [] },
    ...{ num_digits: null, novelty: null, novelty_pending: false, no_novelty: null },
  };
  if (!pixels) return prediction;
  const choice = (probabilities) => {
    const top = probabilities.indexOf(Math.max(...probabilities));
    return { probabilities, top, name: names[top] };
  };
  const asked = answering.filter((each) => !optimizer || each.optimizer === optimizer);
  const networks = await loadAll(asked.map(({ file }) => file));
  const input = new ort.Tensor("float32", Float32Array.from(Array(channels).fill([...pixels]).flat()), [1, channels, side, side]);
  for (const [i, each] of asked.entries()) {
    const { logits } = await networks[i].run({ pixels: input }); // (number of models, number of classes)
    const models = each.models
      .map((one, k) => ({ ...one, ...choice(softmax(logits.data.slice(k * names.length, (k + 1) * names.length))) }))
      .filter(({ id }) => !model || id === model);
    prediction.optimizers.push({ optimizer: each.optimizer, models, saliency: null, ...choice(mean(models)) });
  }
  const answer = choice(mean(prediction.optimizers));
  prediction.ensemble = {
    ...answer,
    num_models: prediction.optimizers.reduce((sum, { models }) => sum + models.length, 0),
    num_agreeing: prediction.optimizers.filter(({ top }) => top === answer.top).length,
    saliency: null,
  };
  return { ...prediction, num_digits: numSideBySide(gray), no_novelty: "no_server" };
}

/** An image upright, on white where it is transparent, as the server reads it. */
async function pixelsOf(picture) {
  const bitmap = await createImageBitmap(picture, { colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, width, height);
}

function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

const mean = (said) => said[0].probabilities.map((_, i) => said.reduce((sum, { probabilities }) => sum + probabilities[i], 0) / said.length);
