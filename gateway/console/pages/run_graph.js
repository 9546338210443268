/** A run as a graph: its nodes by state, groups and repetitions to enter. */

import { GraphCanvas } from "../graph/canvas.js";
import { itemList } from "../graph/items.js";
import { parentOf, placeOf } from "../graph/levels.js";
import { faceOf } from "../graph/node.js";
import { setFilters } from "../lib/router.js";
import { effect, el, onEnd, untracked } from "../lib/view.js";
import { t } from "../lib/words.js";
import { contentAt, crumbs, followLevel, guessHint, hrefIn } from "./run_level.js";

/** @typedef {import("../graph/levels.js").Level} Level */
/** @typedef {import("../lib/view.js").Plain} Plain */
/** @typedef {import("./run.js").Run} Run */

const VIEW = "graph";

/** @param {Run} run @returns {Plain[]} */
export function graphView(run) {
  const level = followLevel(run);
  const way = () => level.value === null ? null : crumbs(level.value, (place) => hrefIn(run.id, VIEW, { in: place }));
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Escape" && !(event.target instanceof HTMLInputElement)) leave(run);
  };
  return [
    el(
      "section",
      { class: "graph-view", "aria-label": t("viewGraph"), on: { keydown: onKey } },
      way,
      () => level.value === null ? null : guessHint(level.value),
      contentAt(level, (now) => levelContent(run, now, level)),
    ),
  ];
}

/**
 * @param {Run} run
 * @param {Level} now
 * @param {import("./run_level.js").LiveLevel} level
 */
function levelContent(run, now, level) {
  if (now.kind === "items") return items(run, now);
  const canvas = new GraphCanvas({
    graph: now.graph,
    prefix: now.prefix,
    faceOf: (node, path) => faceOf(node, run.store.shown(path), costOf(run, path)),
    open: (path) => setFilters({ in: now.prefix.slice(0, -1), node: path }),
    enter: (path) => (location.hash = hrefIn(run.id, VIEW, { in: path })),
  });
  onEnd(run.store.watch(canvas));
  effect(() => {
    const graph = level.value?.graph;
    if (graph !== undefined && graph !== now.graph) untracked(() => canvas.replaceGraph(graph));
  });
  effect(() => {
    if (run.store.summary.value !== null) untracked(() => canvas.show()); // it has the costs
  });
  effect(() => {
    const path = run.filters().node ?? null;
    if (path !== null) untracked(() => canvas.select(path));
  });
  return canvas.element;
}

/** @param {Run} run @param {Level} level */
export function items(run, { prefix }, view = VIEW) {
  const hrefOf = (/** @type {number} */ number) => hrefIn(run.id, view, { in: `${prefix}${number}` });
  const list = itemList({ prefix, shown: (path) => run.store.shown(path), hrefOf });
  onEnd(run.store.watch(list));
  return list.element;
}

/** Escape closes the node that is open, then leaves the group. @param {Run} run */
function leave({ id, filters }) {
  const place = placeOf(filters());
  if (filters().node) setFilters({ in: place, node: "" });
  else if (place !== "") location.hash = hrefIn(id, VIEW, { in: parentOf(place) });
}

/** What requests to models of a node cost, as far as it is known. @param {Run} run @param {string} path */
function costOf({ store }, path) {
  const nodes = store.summary.peek()?.nodeStatus ?? {};
  const usage = Object.hasOwn(nodes, path) ? nodes[path]?.usage : undefined;
  return usage?.cost ? { cost: usage.cost, currency: usage.currency } : null;
}
