/** A long list of which only the rows in sight are there: each has one height, and its place is known. */

import { each, effect, el, onEnd, signal } from "./view.js";

/** @typedef {import("./view.js").Shown} Shown */
/** @typedef {import("./view.js").Plain} Plain */
/**
 * `keys`: all rows, by what names them. `row`: what stands in one. `height`: of each, in pixels.
 * @typedef {{ label: Shown, height: number, keys: () => readonly string[], row: (key: string) => Plain[] }} Rows
 */

/** Rows beyond the edge that are there all the same, so that a fast scroll shows no gap. */
const BEYOND = 8;

/**
 * Which rows are in sight.
 * @param {{ top: number, room: number, height: number, count: number }} view Pixels, but for the count.
 * @returns {{ from: number, to: number }} `to` is not in it.
 */
export function inSight({ top, room, height, count }) {
  const from = Math.max(0, Math.min(count, Math.floor(top / height)) - BEYOND);
  return { from, to: Math.min(count, Math.ceil((top + room) / height) + BEYOND) };
}

/**
 * @param {Rows} rows
 * @returns {HTMLElement}
 */
export function longList({ label, height, keys, row }) {
  const view = signal({ top: 0, room: 0 });
  const list = el("ol", { class: "rows" });
  const box = el("div", { class: "rows-box", tabindex: "0", role: "group", "aria-label": label }, list);
  const look = () => (view.value = { top: box.scrollTop, room: box.clientHeight });
  box.addEventListener("scroll", look, { passive: true });
  const observer = new ResizeObserver(look);
  observer.observe(box);
  onEnd(() => observer.disconnect());
  const shown = () => {
    const all = keys();
    const { from, to } = inSight({ ...view.value, height, count: all.length });
    return all.slice(from, to).map((key, at) => ({ key, index: from + at, count: all.length }));
  };
  effect(() => list.style.setProperty("height", `${keys().length * height}px`));
  const made = each(shown, ({ key }) => key, (item, key) => {
    const line = el("li", {
      class: "row",
      "aria-posinset": () => item.value.index + 1,
      "aria-setsize": () => item.value.count,
      style: { height: `${height}px` },
    }, ...row(key));
    effect(() => line.style.setProperty("transform", `translateY(${item.value.index * height}px)`));
    return line;
  });
  list.append(made);
  return box;
}
