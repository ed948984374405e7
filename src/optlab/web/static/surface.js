// Optimizers that race across a surface of two numbers from where one clicks. The paths come from the
// server, which lets the repository's own update rules walk; here they are drawn.

import { make } from "./answers.js";
import { listSurfaces, runRace } from "./api.js";
import { decimal, number, significant, t } from "./i18n.js";
import { writeUrl } from "./sharing.js";

const $ = (id) => document.getElementById(id);
const STEPS_PER_S = 40;
const BANDS = 16; // of equal height, a contour line between two
const wantsStill = matchMedia("(prefers-reduced-motion: reduce)");

let known = null; // what /api/surfaces says
let surface = null; // its entry
let start = null; // [x, y] of the next race
let result = null; // the newest race
let step = 0; // up to which it is drawn
let picture = null; // the contour picture, a canvas
let frame = 0;
let fail = () => {};

/** Set up the section; it asks the server when it is first seen. `say` shows a problem. */
export function startSurface(say) {
  fail = say;
  const from = readUrl();
  new IntersectionObserver(async (entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    try {
      known = await listSurfaces();
    } catch (error) {
      return fail(error.message); // tries again when it is next seen
    }
    observer.disconnect();
    choose(from);
  }).observe($("surface-pad"));
  $("surface-names").addEventListener("change", () => {
    keepInUrl({ from: null });
    if (known) choose();
  });
  for (const id of ["surface-rate", "surface-momentum"]) {
    $(id).addEventListener("input", () => {
      showOptions();
      keepInUrl();
      race(false);
    });
  }
  $("surface-race").addEventListener("click", () => race(true));
  $("surface-pad").addEventListener("click", (event) => {
    if (!surface) return;
    const box = $("surface-pad").getBoundingClientRect();
    const [left, right, bottom, top] = surface.window;
    setStart(left + ((right - left) * (event.clientX - box.left)) / box.width, top - ((top - bottom) * (event.clientY - box.top)) / box.height);
    race(true);
  });
  $("surface-pad").addEventListener("keydown", moveStart);
  new ResizeObserver(() => paintAll()).observe($("surface-pad"));
  new MutationObserver(() => paintAll()).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) matchMedia(query).addEventListener("change", () => paintAll());
  showOptions();
}

/** Set what the address asks for, as far as it is possible; return where to start, or null. */
function readUrl() {
  const wanted = new URLSearchParams(location.search);
  for (const choice of document.querySelectorAll("input[name=surface]")) if (choice.value === wanted.get("surface")) choice.checked = true;
  for (const name of ["rate", "momentum"]) if (wanted.has(name)) $(`surface-${name}`).value = wanted.get(name); // kept within its range
  const start = wanted.get("from")?.split(",").map(Number);
  return start?.length === 2 && start.every(Number.isFinite) ? start : null;
}

const chosenName = () => document.querySelector("input[name=surface]:checked").value;

function keepInUrl(changed = {}) {
  writeUrl({ surface: chosenName(), rate: $("surface-rate").value, momentum: $("surface-momentum").value, ...changed });
}

/** Start the next race at a point, moved into the picture. */
function setStart(x, y) {
  const [left, right, bottom, top] = surface.window;
  const within = (value, low, high) => Math.min(high, Math.max(low, value));
  start = [within(x, left, right), within(y, bottom, top)];
  keepInUrl({ from: start.map((value) => value.toFixed(3)).join() });
}

function choose(from) {
  const name = chosenName();
  surface = known.surfaces.find((each) => each.name === name);
  start = surface.start;
  if (from) setStart(...from);
  result = null;
  $("surface-formula").textContent = `f(x, y) = ${surface.formula}. ${t(surface.minimum ? "surface.minimum" : "surface.endless")}`;
  paintAll();
  race(true);
}

function moveStart(event) {
  const direction = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
  const runs = event.key === "Enter" || event.key === " ";
  if (!surface || !(direction || runs)) return;
  event.preventDefault();
  if (runs) return race(true);
  const [left, right, bottom, top] = surface.window;
  setStart(start[0] + (direction[0] * (right - left)) / 25, start[1] + (direction[1] * (top - bottom)) / 25);
  race(false);
}

const multiplier = () => 10 ** Number($("surface-rate").value);

function showOptions() {
  const times = `× ${significant(multiplier(), 2)}`;
  const momentum = number($("surface-momentum").valueAsNumber);
  $("surface-rate-text").textContent = times;
  $("surface-rate").setAttribute("aria-valuetext", t("surface.times", { times }));
  $("surface-momentum").setAttribute("aria-valuetext", momentum);
  $("surface-momentum-text").textContent = momentum;
}

// ------------------------------------------------------------------ racing

let asking = false;
let next = null; // what was asked for in the meantime

/** Ask for the paths; let them grow, or draw them at once. */
async function race(grows) {
  if (!surface) return;
  if (asking) {
    next = { grows };
    return;
  }
  asking = true;
  const on = surface;
  try {
    const answer = await runRace(on.name, { x: start[0], y: start[1], lr_multiplier: multiplier(), momentum: $("surface-momentum").value });
    if (on === surface) show(answer, grows);
  } catch (error) {
    fail(error.message);
  } finally {
    asking = false;
  }
  if (next) {
    const { grows: again } = next;
    next = null;
    race(again);
  }
}

function show(answer, grows) {
  result = answer;
  $("surface-walks").replaceChildren(...answer.walks.map((walk) => {
    const { title, color } = known.styles[walk.optimizer];
    const dot = make("i");
    dot.style.setProperty("--voice", color);
    return make("li", "", dot, make("b", "", title), make("small", "", t("surface.own_lr", { lr: significant(walk.lr, 2) })), make("span"));
  }));
  cancelAnimationFrame(frame);
  const last = Math.max(...answer.walks.map((walk) => walk.diverged_at ?? walk.points.length - 1));
  const [x, y] = answer.start.map((value) => decimal(value, 2));
  $("surface-pad").setAttribute("aria-label", t("surface.label", { surface: t(`surface.${surface.name}`), count: answer.walks.length, x, y }));
  $("surface-result").textContent = "";
  const begin = performance.now();
  const grow = (now) => {
    // The time of a frame may be a little before the call
    step = Math.min(last, Math.max(0, Math.floor(((now - begin) / 1000) * STEPS_PER_S)));
    paint();
    if (step < last) frame = requestAnimationFrame(grow);
    else $("surface-result").textContent = summary(answer);
  };
  grow(grows && !wantsStill.matches ? begin : Infinity);
}

const goal = () => (surface.minimum ? "minimum" : "saddle");

/** What became of a walk, as far as it is drawn. */
function outcome(walk) {
  if (walk.diverged_at !== null && walk.diverged_at <= step) return t("surface.diverged", { step: walk.diverged_at });
  if (walk.arrived_at !== null && walk.arrived_at <= step) return t(`surface.reached.${goal()}`, { count: walk.arrived_at });
  return t(step < walk.points.length - 1 ? "surface.walking" : `surface.missed.${goal()}`, { step });
}

function summary({ walks }) {
  const title = (walk) => known.styles[walk.optimizer].title;
  const arrived = walks.filter((walk) => walk.arrived_at !== null).sort((a, b) => a.arrived_at - b.arrived_at);
  const diverged = walks.filter((walk) => walk.diverged_at !== null).map(title);
  const said = [arrived.length ? t(`surface.first.${goal()}`, { name: title(arrived[0]), count: arrived[0].arrived_at }) : t(`surface.nobody.${goal()}`)];
  if (diverged.length) said.push(t("surface.all_diverged", { names: diverged.join(", ") }));
  return said.join(" ");
}

// ------------------------------------------------------------------ drawing

/** Draw the contours again, in the colors and the size of now, and the paths on them. */
function paintAll() {
  const pad = $("surface-pad");
  if (!surface || !pad.clientWidth) return;
  const density = Math.min(2, devicePixelRatio);
  pad.width = Math.round(pad.clientWidth * density);
  pad.height = Math.round(pad.clientHeight * density);
  const style = getComputedStyle(pad);
  const [ink, ground] = [style.color, style.backgroundColor].map((color) => color.match(/[\d.]+/g).map(Number));
  picture = new OffscreenCanvas(pad.width, pad.height);
  const context = picture.getContext("2d");
  const image = context.createImageData(pad.width, pad.height);
  const { heights } = surface;
  const [columns, rows] = [heights[0].length - 1, heights.length - 1];
  const above = new Int8Array(pad.width).fill(-1); // the bands of the row above
  for (let row = 0; row < pad.height; row++) {
    const v = rows * (1 - row / pad.height);
    const j = Math.min(rows - 1, Math.floor(v));
    let before = -1;
    for (let column = 0; column < pad.width; column++) {
      const u = (columns * column) / pad.width;
      const i = Math.floor(u);
      const mix = (line) => line[i] + (line[i + 1] - line[i]) * (u - i);
      const band = Math.floor(BANDS * (mix(heights[j]) + (mix(heights[j + 1]) - mix(heights[j])) * (v - j)));
      const isLine = (before >= 0 && band !== before) || (above[column] >= 0 && band !== above[column]);
      const share = (0.32 * band) / BANDS + (isLine ? 0.2 : 0);
      const at = 4 * (row * pad.width + column);
      for (let channel = 0; channel < 3; channel++) image.data[at + channel] = ground[channel] + (ink[channel] - ground[channel]) * share;
      image.data[at + 3] = 255;
      before = above[column] = band;
    }
  }
  context.putImageData(image, 0, 0);
  paint();
}

function paint() {
  const pad = $("surface-pad");
  if (!picture || !pad.clientWidth) return; // hidden
  const context = pad.getContext("2d");
  const unit = pad.width / pad.clientWidth;
  const [left, right, bottom, top] = surface.window;
  const place = ([x, y]) => [((x - left) / (right - left)) * pad.width, ((top - y) / (top - bottom)) * pad.height];
  const ink = getComputedStyle(pad).color;
  context.drawImage(picture, 0, 0);
  context.lineJoin = "round";
  const cross = ([x, y], size, turned) => {
    context.setLineDash([]);
    context.beginPath();
    for (const [dx, dy] of turned ? [[1, 1], [1, -1]] : [[1, 0], [0, 1]]) {
      context.moveTo(x - dx * size * unit, y - dy * size * unit);
      context.lineTo(x + dx * size * unit, y + dy * size * unit);
    }
    context.stroke();
  };
  context.strokeStyle = ink;
  context.lineWidth = 2 * unit;
  if (surface.minimum) cross(place(surface.minimum), 8, false);
  for (const walk of result?.walks ?? []) {
    const { color, dashes } = known.styles[walk.optimizer];
    const points = walk.points.slice(0, step + 1).map(place);
    context.strokeStyle = context.fillStyle = color;
    context.lineWidth = 2.5 * unit;
    context.setLineDash(dashes.map((dash) => dash * 2 * unit));
    context.beginPath();
    for (const point of points) context.lineTo(...point);
    context.stroke();
    if (walk.diverged_at !== null && step >= walk.diverged_at) cross(points.at(-1), 6, true);
    context.beginPath();
    context.arc(...points.at(-1), 5 * unit, 0, 7);
    context.fill();
  }
  context.setLineDash([]);
  context.strokeStyle = ink;
  context.lineWidth = 2 * unit;
  context.beginPath();
  context.arc(...place(result?.start ?? start), 7 * unit, 0, 7);
  context.stroke();
  result?.walks.forEach((walk, i) => ($("surface-walks").children[i].lastChild.textContent = outcome(walk)));
}
