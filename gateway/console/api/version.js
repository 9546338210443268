/** Is the page of the version that its gateway is of? A gateway that was replaced serves another page. */

import { effect, signal, untracked } from "../lib/view.js";
import { getHeader } from "./rest.js";

export const isOutdated = signal(false);

/**
 * Look each time the gateway is back; it may be another one. Belongs to the surrounding effect.
 * @param {import("./socket.js").GatewaySocket} socket
 */
export function followVersion(socket) {
  let ours = "";
  const look = async () => {
    try {
      const theirs = await getHeader("", "ETag");
      ours ||= theirs;
      isOutdated.value = theirs !== ours;
    } catch {
      // Away again: the next time.
    }
  };
  effect(() => {
    if (socket.state.value === "open") untracked(look);
  });
}
