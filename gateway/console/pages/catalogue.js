/** Keeping what is shown of node types and plugins fresh: the gateway tells every page when plugins change. */

import { GatewayAway, GatewayError } from "../api/rest.js";
import { computed, effect, onEnd, untracked } from "../lib/view.js";

const CHANGES = new Set(["NODES_RELOADED", "plugin-enabled", "plugin-disabled"]);

/**
 * Load now, when plugins change, and when the gateway is back. Belongs to the surrounding effect.
 * @param {import("../api/socket.js").GatewaySocket} socket
 * @param {() => Promise<void>} load
 */
export function keepCatalogue(socket, load) {
  const reload = async () => {
    try {
      await load();
    } catch (error) {
      // Away: the banner says so, and it is loaded when the gateway is back. Refused: the page asks for a token.
      if (!(error instanceof GatewayAway || error instanceof GatewayError)) throw error;
    }
  };
  onEnd(socket.listen((frame) => {
    if (CHANGES.has(frame.type)) reload();
  }));
  const isThere = computed(() => socket.state.value !== "away");
  effect(() => {
    if (isThere.value) untracked(reload);
  });
}
