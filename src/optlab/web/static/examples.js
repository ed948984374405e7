// Example digits as pen strokes, for those who cannot or would not draw: points in a 100 x 100
// box, given as arcs and lines, each drawn a little differently every time.

/** Points on an ellipse's arc; degrees, clockwise on the screen, 0 is to the right. */
function arc(cx, cy, rx, ry, from, to) {
  const count = Math.max(4, Math.ceil(Math.abs(to - from) / 12));
  return Array.from({ length: count + 1 }, (_, i) => {
    const angle = ((from + ((to - from) * i) / count) * Math.PI) / 180;
    return [cx + rx * Math.cos(angle), cy + ry * Math.sin(angle)];
  });
}

const STROKES = [
  [arc(50, 50, 25, 36, -80, 285)],
  [[[54, 14], [51, 40], [48, 87]]],
  [[...arc(49, 34, 22, 20, 190, 385), [44, 66], [27, 86], [74, 86]]],
  [[...arc(48, 32, 21, 18, 205, 445), ...arc(48, 67, 24, 19, -85, 150)]],
  [[[60, 12], [24, 60], [78, 60]], [[61, 38], [61, 88]]],
  [[[71, 14], [36, 14], [32, 45], ...arc(48, 63, 24, 23, 225, 505)]],
  [[[62, 12], [48, 26], [37, 44], ...arc(50, 67, 18, 19, 205, -165)]],
  [[[26, 15], [74, 15], [56, 48], [43, 87]]],
  [[...arc(50, 31, 19, 18, 80, -270), ...arc(50, 68, 23, 19, -90, 270)]],
  [[...arc(48, 34, 21, 21, 0, -360), [68, 52], [60, 88]]],
];

/** Strokes of one digit as lists of [x, y] in 0..1. */
export function exampleStrokes(digit) {
  const vary = (range) => (Math.random() - 0.5) * 2 * range;
  const slant = vary(0.06) - 0.05;
  const size = 0.92 + vary(0.08);
  const [dx, dy] = [vary(5), vary(5)];
  return STROKES[digit].map((points) =>
    points.map(([x, y]) => [
      (50 + (x - 50 + slant * (y - 50) + vary(0.6)) * size + dx) / 100,
      (50 + (y - 50 + vary(0.6)) * size + dy) / 100,
    ]),
  );
}
