// The canvas: strokes with mouse, finger, pen or keys, on paper or on a picture, and undo.
// Strokes are kept as points in a 280 x 280 square, so they stay sharp at any size and theme.

import { exampleStrokes } from "./examples.js";

const SIDE = 280;
const LIMIT = 4 * 1024 * 1024; // bytes and pixels of a file that the server reads
const LONGEST_SIDE = 4096; // likewise
const FORMATS = ["png", "jpeg", "webp", "gif", "bmp"].map((name) => `image/${name}`);
const LONGEST_SIDE_SENT = 512; // of a picture above the limit, or with strokes on it
const MAX_UNDO = 100;

export class Pad {
  /** @param {HTMLCanvasElement} canvas  @param {() => void} onChange called after every change */
  constructor(canvas, onChange) {
    this.canvas = canvas;
    this.onChange = onChange;
    this.penWidth = 22;
    this.readOnly = false; // pictures only, nothing to draw
    this.marks = []; // a picture {bitmap, file, ink} or none, then strokes {points, width}
    this.history = []; // the marks before each change, the oldest first
    this.otherSheet = { marks: [], history: [] }; // of studies that read the other kind
    this.stroke = null;
    this.pen = { x: SIDE / 2, y: SIDE / 4, visible: false }; // of the keyboard
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      canvas.addEventListener(end, (event) => this.#up(event));
    }
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("blur", () => {
      this.pen.visible = false;
      this.#lift();
      this.paint();
    });
    new ResizeObserver(() => this.#resize()).observe(canvas);
  }

  get isEmpty() {
    return this.marks.length === 0;
  }

  get strokes() {
    return this.marks.filter((mark) => mark.points);
  }

  get canUndo() {
    return this.history.length > 0 && !this.stroke;
  }

  undo() {
    if (!this.canUndo) return;
    this.marks = this.history.pop();
    this.#changed();
  }

  clear() {
    if (!this.isEmpty) this.#replace([]);
  }

  example(digit) {
    this.draw(exampleMarks(digit, this.penWidth));
  }

  /** Draw strokes {points, width} on a clear sheet. */
  draw(strokes) {
    this.#replace(strokes);
  }

  show(bitmap, file) {
    this.#replace([{ bitmap, file, ink: inkOn(bitmap) }]);
  }

  /** Switch between drawings and pictures; each keeps what was on its sheet. */
  setReadOnly(readOnly) {
    if (readOnly === this.readOnly) return;
    const { marks, history } = this;
    Object.assign(this, this.otherSheet, { readOnly, stroke: null, otherSheet: { marks, history } });
    this.#changed();
  }

  /** What is sent: a file as it is, or black ink on white paper, whatever the theme shows. */
  async toBlob() {
    const [{ bitmap, file, ink } = {}, ...strokes] = this.marks;
    if (!bitmap) return toPng(onPaper(this.marks));
    const { width, height } = bitmap;
    const fits = file?.size <= LIMIT && width * height <= LIMIT && Math.max(width, height) <= LONGEST_SIDE;
    if (fits && !strokes.length && FORMATS.includes(file.type)) return file;
    const canvas = document.createElement("canvas");
    const scale = Math.min(1, LONGEST_SIDE_SENT / Math.max(width, height));
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const toPicture = Math.max(canvas.width, canvas.height) / SIDE;
    context.translate(canvas.width / 2, canvas.height / 2);
    context.scale(toPicture, toPicture);
    context.translate(-SIDE / 2, -SIDE / 2);
    for (const stroke of strokes) drawStroke(context, stroke, ink);
    return toPng(canvas);
  }

  paint() {
    const context = this.canvas.getContext("2d");
    const scale = this.canvas.width / SIDE;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, SIDE, SIDE);
    const style = getComputedStyle(this.canvas); // its colors follow theme and high contrast
    this.#draw(context, style.color);
    if (!this.pen.visible) return;
    context.lineWidth = 1.5;
    context.strokeStyle = style.outlineColor;
    context.beginPath();
    context.arc(this.pen.x, this.pen.y, this.penWidth / 2 + 3, 0, 7);
    context.moveTo(this.pen.x - 5, this.pen.y);
    context.lineTo(this.pen.x + 5, this.pen.y);
    context.moveTo(this.pen.x, this.pen.y - 5);
    context.lineTo(this.pen.x, this.pen.y + 5);
    context.stroke();
  }

  #draw(context, ink) {
    const picture = this.marks.find((mark) => mark.bitmap);
    context.save();
    if (picture) drawFitted(context, picture.bitmap); // what is drawn over its edge is cut off
    for (const mark of this.marks) if (mark !== picture) drawStroke(context, mark, picture?.ink ?? ink);
    context.restore();
  }

  #resize() {
    const side = Math.round(this.canvas.clientWidth * Math.min(window.devicePixelRatio || 1, 3));
    if (!side || side === this.canvas.width) return;
    this.canvas.width = this.canvas.height = side;
    this.paint();
  }

  /** Every change goes this way, so every change can be undone. */
  #replace(marks) {
    this.stroke = null;
    this.history = [...this.history, this.marks].slice(-MAX_UNDO);
    this.marks = marks;
    this.#changed();
  }

  #changed() {
    this.paint();
    this.onChange();
  }

  #point(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * SIDE,
      ((event.clientY - box.top) / box.height) * SIDE,
    ];
  }

  #down(event) {
    if (!event.isPrimary || event.button !== 0 || this.readOnly) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.pen.visible = false;
    this.#begin({ width: this.penWidth, points: [this.#point(event)], pointer: event.pointerId });
  }

  #begin(stroke) {
    this.#replace([...this.marks, stroke]);
    this.stroke = stroke;
    this.onChange();
  }

  #move(event) {
    if (!this.stroke || this.stroke.pointer !== event.pointerId) return;
    // browsers report one move a frame; the moves in between make the line smooth
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) {
      const [x, y] = this.#point(each);
      const [lastX, lastY] = this.stroke.points.at(-1);
      if (Math.hypot(x - lastX, y - lastY) >= 1) this.stroke.points.push([x, y]);
    }
    this.#changed();
  }

  #up(event) {
    if (!this.stroke || this.stroke.pointer !== event.pointerId) return;
    this.stroke = null;
    this.#changed();
  }

  #lift() {
    if (this.stroke && this.stroke.pointer === undefined) this.stroke = null;
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 3 : 10;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key in moves && !this.readOnly) {
      const clamp = (value) => Math.min(SIDE - 4, Math.max(4, value));
      this.pen.x = clamp(this.pen.x + moves[event.key][0] * step);
      this.pen.y = clamp(this.pen.y + moves[event.key][1] * step);
      this.pen.visible = true;
      if (this.stroke) {
        this.stroke.points.push([this.pen.x, this.pen.y]);
        this.#changed();
      } else this.paint();
    } else if (event.key === " " && !this.readOnly) {
      this.pen.visible = true;
      if (this.stroke) {
        this.#lift();
        this.#changed();
      } else {
        this.#begin({ width: this.penWidth, points: [[this.pen.x, this.pen.y]] });
      }
    } else if (/^[0-9]$/.test(event.key) && !this.readOnly) this.example(Number(event.key));
    else if (event.key === "Delete" || event.key === "Backspace") this.clear();
    else return;
    event.preventDefault();
  }
}

/** An example digit as it would be sent if it were drawn. */
export const exampleBlob = (digit, penWidth) => toPng(onPaper(exampleMarks(digit, penWidth)));

const exampleMarks = (digit, width) => exampleStrokes(digit).map((points) => ({ width, points: points.map(([x, y]) => [x * SIDE, y * SIDE]) }));

const toPng = (canvas) => new Promise((resolve) => canvas.toBlob(resolve, "image/png"));

/** Strokes as black ink on white paper. */
function onPaper(strokes) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, SIDE, SIDE);
  for (const stroke of strokes) drawStroke(context, stroke, "#000");
  return canvas;
}

/** Quadratic curves through the middles of neighboring points. */
function drawStroke(context, { points, width }, ink) {
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = width;
  context.strokeStyle = ink;
  context.beginPath();
  context.moveTo(...points[0]);
  for (let i = 1; i < points.length - 1; i++) {
    const [x, y] = points[i];
    const [nextX, nextY] = points[i + 1];
    context.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
  }
  context.lineTo(...points.at(-1)); // a single point becomes a dot through the round caps
  context.stroke();
}

/** The whole picture in the middle of the square; nothing is drawn outside of it from then on. */
function drawFitted(context, bitmap) {
  const scale = SIDE / Math.max(bitmap.width, bitmap.height);
  const [width, height] = [bitmap.width * scale, bitmap.height * scale];
  const box = [(SIDE - width) / 2, (SIDE - height) / 2, width, height];
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, ...box);
  context.beginPath();
  context.rect(...box);
  context.clip();
}

/** Black or white, whichever differs from a picture's border, which the server takes as paper. */
function inkOn(bitmap) {
  const canvas = new OffscreenCanvas(8, 8);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // as the server lays transparent pictures on white
  context.fillRect(0, 0, 8, 8);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, 8, 8);
  const { data } = context.getImageData(0, 0, 8, 8);
  let sum = 0;
  for (let i = 0; i < 64; i++) {
    const isBorder = i % 8 === 0 || i % 8 === 7 || i < 8 || i >= 56;
    if (isBorder) sum += data[4 * i] + data[4 * i + 1] + data[4 * i + 2];
  }
  return sum / (3 * 28) > 127 ? "#000" : "#fff";
}
