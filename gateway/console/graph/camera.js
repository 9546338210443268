/** What of a graph is in view, and where on the screen: pure. Lengths on the screen are CSS pixels. */

/** The point of the graph at the left upper corner, and pixels for each of its units. @typedef {{ x: number, y: number, zoom: number }} Camera */
/** @typedef {{ x: number, y: number }} Point */
/** @typedef {{ width: number, height: number }} Size */
/** @typedef {{ left: number, top: number, right: number, bottom: number }} Box */

const ZOOM = { least: 0.02, most: 2.5 };
const MARGIN = 40;
const READABLE = 0.8;
/** A small graph is not blown up. */
const MOST_FITTED = 1;

/** @param {Camera} camera @param {Point} at On the screen. @returns {Point} In the graph. */
export function toGraph(camera, at) {
  return { x: camera.x + at.x / camera.zoom, y: camera.y + at.y / camera.zoom };
}

/** @param {Camera} camera @param {Size} size @returns {Box} In the graph. */
export function inView(camera, size) {
  const end = toGraph(camera, { x: size.width, y: size.height });
  return { left: camera.x, top: camera.y, right: end.x, bottom: end.y };
}

/** @param {Camera} camera @param {number} dx Pixels by which the graph moves. @param {number} dy @returns {Camera} */
export function panned(camera, dx, dy) {
  return { ...camera, x: camera.x - dx / camera.zoom, y: camera.y - dy / camera.zoom };
}

/** The point under `at` stays there. @param {Camera} camera @param {number} factor @param {Point} at @returns {Camera} */
export function zoomed(camera, factor, at) {
  const zoom = Math.min(ZOOM.most, Math.max(ZOOM.least, camera.zoom * factor));
  const fixed = toGraph(camera, at);
  return { x: fixed.x - at.x / zoom, y: fixed.y - at.y / zoom, zoom };
}

/** All of the box in the middle of the screen. @param {Box} box @param {Size} size @returns {Camera} */
export function fitted(box, size) {
  const [width, height] = [box.right - box.left, box.bottom - box.top];
  const room = (/** @type {number} */ pixels, /** @type {number} */ units) =>
    Math.max(1, pixels - 2 * MARGIN) / Math.max(1, units);
  const wanted = Math.min(MOST_FITTED, room(size.width, width), room(size.height, height));
  const zoom = Math.max(ZOOM.least, wanted);
  const [x, y] = [box.left + width / 2 - size.width / 2 / zoom, box.top + height / 2 - size.height / 2 / zoom];
  return { x, y, zoom };
}

/**
 * Move no further than needed to have the box in view, away from the edge.
 * @param {Camera} camera
 * @param {Box} box
 * @param {Size} size
 * @returns {Camera}
 */
export function revealing(camera, box, size) {
  const view = inView(camera, size);
  const margin = MARGIN / camera.zoom;
  const x = shift({ from: view.left + margin, to: view.right - margin }, { from: box.left, to: box.right });
  const y = shift({ from: view.top + margin, to: view.bottom - margin }, { from: box.top, to: box.bottom });
  return { ...camera, x: camera.x + x, y: camera.y + y };
}

/**
 * The middle of the box in the middle of the screen, and close enough to be read.
 * @param {Camera} camera
 * @param {Box} box
 * @param {Size} size
 * @returns {Camera}
 */
export function readable(camera, box, size) {
  const zoom = Math.max(camera.zoom, READABLE);
  const x = (box.left + box.right - size.width / zoom) / 2;
  return { x, y: (box.top + box.bottom - size.height / zoom) / 2, zoom };
}

/** @typedef {{ from: number, to: number }} Range */

/** What is too long for the view shows its beginning. @param {Range} view @param {Range} wanted */
function shift(view, wanted) {
  if (wanted.from < view.from) return wanted.from - view.from;
  return wanted.to > view.to ? Math.min(wanted.to - view.to, wanted.from - view.from) : 0;
}

/** @param {Box} one @param {Box} other */
export function touches(one, other) {
  return one.left <= other.right && other.left <= one.right && one.top <= other.bottom && other.top <= one.bottom;
}

/** The box around all. @param {Iterable<Box>} boxes @returns {Box} */
export function around(boxes) {
  const all = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  for (const box of boxes) {
    all.left = Math.min(all.left, box.left);
    all.top = Math.min(all.top, box.top);
    all.right = Math.max(all.right, box.right);
    all.bottom = Math.max(all.bottom, box.bottom);
  }
  return all.left <= all.right ? all : { left: 0, top: 0, right: 0, bottom: 0 };
}
