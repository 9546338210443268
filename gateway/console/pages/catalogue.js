/** Keeping what is shown of node types and plugins fresh: the gateway tells every page when plugins change. */

import { loading } from "../lib/loading.js";
import { computed, effect, onEnd, untracked } from "../lib/view.js";

const CHANGES = new Set(["NODES_RELOADED", "plugin-enabled", "plugin-disabled"]);

/**
 * As `loading`, and anew when plugins change, or may have changed while the gateway was away.
 * @template T
 * @param {import("../api/socket.js").GatewaySocket} socket
 * @param {() => Promise<T>} load
 * @returns {import("../lib/loading.js").Loaded<T>}
 */
export function loadingCatalogue(socket, load) {
  const loaded = loading(socket, load);
  onEnd(socket.listen((frame) => {
    if (CHANGES.has(frame.type)) loaded.reload();
  }));
  const isThere = computed(() => socket.state.value !== "away");
  let wasAway = false;
  effect(() => {
    if (isThere.value && wasAway) untracked(loaded.reload);
    wasAway = !isThere.value;
  });
  return loaded;
}
