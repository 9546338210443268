/** Pointers and wheel as what they mean: drag, pinch, tap, twice in a row. Mouse, pen and fingers are one. */

/** @typedef {import("./camera.js").Point} Point */
/**
 * Points are CSS pixels in the element.
 * @typedef {{
 *   pan: (dx: number, dy: number) => void, zoom: (factor: number, at: Point) => void,
 *   tap: (at: Point) => void, tapTwice: (at: Point) => void,
 * }} Gestures
 */

const TAP_PIXELS = 6;
const TWICE = { withinMs: 350, pixels: 24 };
const WHEEL_STEP = 0.0015;
/** Lines and pages of a wheel, in pixels. */
const WHEEL_UNITS = [1, 16, 400];

/**
 * @param {HTMLElement} element Whose `touch-action` is none: the browser leaves all gestures to it.
 * @param {Gestures} does
 */
export function bindGestures(element, does) {
  /** @type {Map<number, Point>} */
  const pointers = new Map();
  let moved = 0;
  let last = { at: { x: 0, y: 0 }, time: -Infinity };
  const place = (/** @type {PointerEvent} */ event) => ({ x: event.offsetX, y: event.offsetY });

  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    element.setPointerCapture(event.pointerId);
    // More than one finger is no tap, not even the last that stays.
    moved = pointers.size === 0 ? 0 : Infinity;
    pointers.set(event.pointerId, place(event));
  });
  element.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (before === undefined) return;
    const now = place(event);
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    pointers.set(event.pointerId, now);
    moved += Math.hypot(now.x - before.x, now.y - before.y);
    if (other !== undefined) pinch(does, other, before, now);
    else if (moved > TAP_PIXELS) does.pan(now.x - before.x, now.y - before.y);
  });
  element.addEventListener("pointerup", (event) => {
    if (!pointers.delete(event.pointerId) || moved > TAP_PIXELS) return;
    const at = place(event);
    const isTwice = event.timeStamp - last.time < TWICE.withinMs && distance(at, last.at) < TWICE.pixels;
    last = { at, time: isTwice ? -Infinity : event.timeStamp };
    if (isTwice) does.tapTwice(at);
    else does.tap(at);
  });
  element.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
  element.addEventListener("wheel", (event) => {
    event.preventDefault();
    const unit = WHEEL_UNITS[event.deltaMode] ?? 1;
    if (event.deltaX !== 0) does.pan(-event.deltaX * unit, -event.deltaY * unit);
    else {
      // Browsers tell of a pinch on a touchpad as of a wheel with Ctrl, in small steps.
      const step = WHEEL_STEP * (event.ctrlKey ? 6 : 1);
      does.zoom(Math.exp(-event.deltaY * unit * step), { x: event.offsetX, y: event.offsetY });
    }
  }, { passive: false });
}

/** @param {Gestures} does @param {Point} other @param {Point} before @param {Point} now */
function pinch(does, other, before, now) {
  const middle = { x: (other.x + now.x) / 2, y: (other.y + now.y) / 2 };
  does.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
  does.zoom(Math.max(1, distance(other, now)) / Math.max(1, distance(other, before)), middle);
}

/** @param {Point} one @param {Point} other */
function distance(one, other) {
  return Math.hypot(one.x - other.x, one.y - other.y);
}
