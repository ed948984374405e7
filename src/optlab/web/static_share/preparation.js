// From a picture to what a network reads: `optlab.data.preprocessing` where no server does it.
// Results are rounded as NumPy and Pillow round them, so both give the same pixels.
// A picture is {values, width, height}, values a Float32Array of gray levels, row by row.

const MNIST = { side: 28, box: 20, center: 14 };
const UCI = { bitmap: 32, side: 8, inkLevel: 0.3, minStroke: 4 };
const MIN_CONTRAST = 0.1; // of the full range; weaker than this is paper
const EDGE_LEVEL = Math.fround(0.15); // of the strongest ink
const MIN_INK_PIXELS = 6;
const TALL = 0.5; // of the tallest part: as tall a part is a digit of its own
const PARTS_SIDE = 280; // pixels, of the page's canvas

const WAYS = { mnist: asMnist, digits: asUciDigit };

/** Return uint8 pixels (side x side) as the networks of one data set read them; null for a blank sheet. */
export const prepare = (picture, preparation, side) => WAYS[preparation](picture, side);

/** Return a picture of ImageData by the luminance weights of ITU-R BT.601. */
export function grayOf({ data, width, height }) {
  const values = new Float32Array(width * height);
  for (let i = 0; i < values.length; i++) {
    values[i] = 0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2];
  }
  return { values, width, height };
}

/** Return how many separate tall parts of ink there are next to each other; null for large pictures. */
export function numSideBySide(picture) {
  const { width, height } = picture;
  if (Math.max(width, height) >= 2 * PARTS_SIDE) return null;
  const { values } = inkOf(picture);
  const level = Math.fround(EDGE_LEVEL * max(values));
  const isNew = Uint8Array.from(values, (ink) => ink > level);
  const parts = [];
  for (let start = 0; start < isNew.length; start++) {
    if (!isNew[start]) continue;
    const part = { left: width, right: 0, top: height, bottom: 0 };
    const open = [start];
    isNew[start] = 0;
    while (open.length) {
      const at = open.pop();
      const [x, y] = [at % width, Math.floor(at / width)];
      part.left = Math.min(part.left, x);
      part.right = Math.max(part.right, x + 1);
      part.top = Math.min(part.top, y);
      part.bottom = Math.max(part.bottom, y + 1);
      for (let row = Math.max(0, y - 1); row <= Math.min(height - 1, y + 1); row++) {
        for (let column = Math.max(0, x - 1); column <= Math.min(width - 1, x + 1); column++) {
          const next = row * width + column;
          if (isNew[next]) open.push(next);
          isNew[next] = 0;
        }
      }
    }
    parts.push(part);
  }
  const tallest = Math.max(...parts.map(({ top, bottom }) => bottom - top));
  const tall = parts.filter(({ top, bottom }) => bottom - top >= TALL * tallest).sort((a, b) => a.left - b.left || a.right - b.right);
  let [number, right] = [0, -1];
  for (const part of tall) {
    number += part.left >= right;
    right = Math.max(right, part.right);
  }
  return number;
}

/** The ink fitted to 20/28 of the side, its center of mass in the middle. */
function asMnist(picture, side) {
  const crop = cropToInk(inkOf(picture));
  if (!crop) return null;
  const { values, width, height } = fit(crop, roundHalfEven((side * MNIST.box) / MNIST.side));
  const strongest = max(values);
  const fitted = values.map((ink) => ink / strongest); // a thin pen on a large sheet fades as it shrinks
  let [mass, rows, columns] = [0, 0, 0];
  fitted.forEach((ink, i) => {
    mass += ink;
    rows += ink * Math.floor(i / width);
    columns += ink * (i % width);
  });
  const center = (MNIST.center * side) / MNIST.side;
  const shift = (middle, free) => Math.min(Math.max(roundHalfEven(center - middle), 0), free);
  const [top, left] = [shift(rows / mass, side - height), shift(columns / mass, side - width)];
  return levels(paste({ values: fitted, width, height }, side, top, left).map((ink) => 255 * ink));
}

/** The ink as a 32x32 bitmap, counted in 4x4 blocks, scaled up. */
function asUciDigit(picture, side) {
  const { values: gray, width, height } = picture;
  const brightest = Math.min(max(gray.subarray(0, width)), max(gray.subarray(-width)));
  const isLightOnBlack = paperOf(picture) < MIN_CONTRAST * 255 && MIN_CONTRAST * 255 < brightest;
  if (width === side && height === side && isLightOnBlack) return levels(gray); // one of the data set's
  const crop = cropToInk(inkOf(picture));
  if (!crop) return null;
  const fitted = fit(crop, UCI.bitmap);
  const level = Math.fround(Math.fround(UCI.inkLevel) * max(fitted.values)); // a thin pen fades as it shrinks
  fitted.values = fitted.values.map((ink) => ink > level);
  const free = (length) => Math.floor((UCI.bitmap - length) / 2);
  let bitmap = paste(fitted, UCI.bitmap, free(fitted.height), free(fitted.width));
  if (strokeWidth(bitmap) < UCI.minStroke) bitmap = thicken(bitmap);
  const block = UCI.bitmap / UCI.side;
  const counted = new Float32Array(UCI.side ** 2);
  bitmap.forEach((isSet, i) => {
    const [row, column] = [Math.floor(i / UCI.bitmap), i % UCI.bitmap];
    counted[Math.floor(row / block) * UCI.side + Math.floor(column / block)] += isSet / block ** 2;
  });
  const small = { values: counted, width: UCI.side, height: UCI.side };
  return levels(resize(small, side, side, BILINEAR).values.map((ink) => 255 * ink));
}

/** How far each pixel is from the paper, the median of the border, in [0, 1]. */
function inkOf(picture) {
  const paper = paperOf(picture);
  return { ...picture, values: picture.values.map((gray) => Math.fround(Math.abs(gray - paper)) / 255) };
}

function paperOf({ values, width, height }) {
  const border = [...values.subarray(0, width), ...values.subarray(-width)];
  for (let row = 1; row < height - 1; row++) border.push(values[row * width], values[(row + 1) * width - 1]);
  border.sort((a, b) => a - b);
  return Math.fround((border[border.length / 2 - 1] + border[border.length / 2]) / 2); // of an even number
}

/** The ink's bounding box, its strongest pixel 1; null where nothing was drawn. */
function cropToInk({ values, width, height }) {
  const strongest = max(values);
  if (strongest < MIN_CONTRAST) return null;
  const ink = values.map((each) => each / strongest); // a pencil line counts like a pen's
  let [sum, top, bottom, left, right] = [0, height, 0, width, 0];
  ink.forEach((each, i) => {
    if (each <= EDGE_LEVEL) return;
    const [row, column] = [Math.floor(i / width), i % width];
    sum += each;
    [top, bottom] = [Math.min(top, row), Math.max(bottom, row + 1)];
    [left, right] = [Math.min(left, column), Math.max(right, column + 1)];
  });
  if (sum < MIN_INK_PIXELS) return null; // a speck
  const crop = new Float32Array((right - left) * (bottom - top));
  for (let row = top; row < bottom; row++) {
    crop.set(ink.subarray(row * width + left, row * width + right), (row - top) * (right - left));
  }
  return { values: crop, width: right - left, height: bottom - top };
}

/** Scale to at most box x box, the longest side exactly box, proportions kept. */
function fit(crop, box) {
  const scale = box / Math.max(crop.width, crop.height);
  const length = (of) => Math.max(1, roundHalfEven(of * scale));
  const scaled = resize(crop, length(crop.width), length(crop.height), LANCZOS);
  if (scaled === crop) return crop;
  return { ...scaled, values: scaled.values.map((ink) => Math.min(Math.max(ink, 0), 1)) }; // the kernel overshoots
}

function paste({ values, width, height }, side, top, left) {
  const square = new Float32Array(side ** 2);
  for (let row = 0; row < height; row++) square.set(values.subarray(row * width, (row + 1) * width), (top + row) * side + left);
  return square;
}

/** Mean width of strokes in pixels: a long strip has twice its area over its edge. */
function strokeWidth(bitmap) {
  const side = UCI.bitmap;
  const at = (row, column) => (Math.min(row, column) >= 0 && Math.max(row, column) < side ? bitmap[row * side + column] : 0);
  let [area, edge] = [0, 0];
  for (let row = 0; row <= side; row++) {
    for (let column = 0; column <= side; column++) {
      area += at(row, column);
      edge += (at(row, column) !== at(row - 1, column)) + (at(row, column) !== at(row, column - 1));
    }
  }
  return (2 * area) / Math.max(edge, 1);
}

/** Strokes one pixel wider on either side. */
function thicken(bitmap) {
  const side = UCI.bitmap;
  return bitmap.map((_, i) => {
    const [y, x] = [Math.floor(i / side), i % side];
    for (let row = Math.max(0, y - 1); row <= Math.min(side - 1, y + 1); row++) {
      for (let column = Math.max(0, x - 1); column <= Math.min(side - 1, x + 1); column++) {
        if (bitmap[row * side + column]) return 1;
      }
    }
    return 0;
  });
}

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
const LANCZOS = { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) };
const BILINEAR = { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) };

/** Resize as Pillow does pictures of floating-point numbers: first along rows, then along columns. */
function resize(picture, width, height, kernel) {
  let { values } = picture;
  if (picture.width === width && picture.height === height) return picture;
  if (picture.width !== width) {
    const taps = tapsOf(picture.width, width, kernel);
    values = Float32Array.from({ length: width * picture.height }, (_, i) => {
      const { first, weights } = taps[i % width];
      const start = Math.floor(i / width) * picture.width + first;
      return weights.reduce((sum, weight, k) => sum + weight * values[start + k], 0);
    });
  }
  if (picture.height !== height) {
    const taps = tapsOf(picture.height, height, kernel);
    const rows = values;
    values = Float32Array.from({ length: width * height }, (_, i) => {
      const { first, weights } = taps[Math.floor(i / width)];
      return weights.reduce((sum, weight, k) => sum + weight * rows[(first + k) * width + (i % width)], 0);
    });
  }
  return { values, width, height };
}

/** For each pixel of the new length: the first old one that it takes, and the weights from there on. */
function tapsOf(length, newLength, { support, weight }) {
  const scale = length / newLength;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: newLength }, (_, i) => {
    const center = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support * stretch + 0.5));
    const end = Math.min(length, Math.trunc(center + support * stretch + 0.5));
    const weights = Array.from({ length: end - first }, (_, k) => weight((k + first - center + 0.5) / stretch));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((each) => each / sum) };
  });
}

const max = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
const levels = (values) => Uint8Array.from(values, (value) => roundHalfEven(Math.min(Math.max(value, 0), 255)));

function roundHalfEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  return rest < 0.5 || (rest === 0.5 && below % 2 === 0) ? below : below + 1;
}
