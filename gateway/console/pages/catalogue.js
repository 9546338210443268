/** Keeping what is shown of node types and plugins fresh: the gateway tells every page when plugins change. */

import { GatewayError, isPassing } from "../api/rest.js";
import { computed, effect, onEnd, untracked } from "../lib/view.js";
import { inTurn } from "../run/lists.js";

const AGAIN_MS = 3000;
const CHANGES = new Set(["NODES_RELOADED", "plugin-enabled", "plugin-disabled"]);

/**
 * Load now, when plugins change, when the gateway is back, and after a while when it could not answer. Belongs to the surrounding effect.
 * @param {import("../api/socket.js").GatewaySocket} socket
 * @param {() => Promise<void>} load
 */
export function keepCatalogue(socket, load) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let again;
  let isOver = false;
  const reload = inTurn(async () => {
    clearTimeout(again);
    try {
      await load();
    } catch (error) {
      // Away: the banner says so, and it is loaded when the gateway is back. Refused: the page asks for a token.
      if (isPassing(error)) again = isOver ? undefined : setTimeout(reload, AGAIN_MS);
      else if (!(error instanceof GatewayError)) throw error;
    }
  });
  onEnd(() => {
    isOver = true;
    clearTimeout(again);
  });
  onEnd(socket.listen((frame) => {
    if (CHANGES.has(frame.type)) reload();
  }));
  const isThere = computed(() => socket.state.value !== "away");
  effect(() => {
    if (isThere.value) untracked(reload);
  });
}
