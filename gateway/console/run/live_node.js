/** One node of a run, followed. */

import { computed, onEnd, signal, untracked } from "../lib/view.js";

/** @typedef {import("./store.js").NodeShown} NodeShown */
/** @typedef {import("./timeline.js").NodeTimes} NodeTimes */
/** @typedef {NodeShown & { times: NodeTimes | null }} NodeSeen */

/**
 * What is known of a node. `seen` follows each change; `facts` only those that are no mere piece of its text.
 * @param {import("./store.js").RunStore} store
 * @param {string} path
 */
export function liveNode(store, path) {
  const version = signal(0);
  const changed = (/** @type {string} */ other) => void (other === path && version.value++);
  const look = () => ({ ...store.shown(path), times: store.timeline.nodes.get(path) ?? null });
  untracked(() => onEnd(store.watch({ show: () => void version.value++, add: changed, touch: changed })));
  const seen = computed(() => {
    version.value;
    return look();
  });
  // States change in place: only their text tells whether they did.
  const key = computed(() => JSON.stringify([seen.value.state, seen.value.times]));
  const facts = computed(() => {
    key.value;
    return look();
  });
  return { seen, facts };
}
