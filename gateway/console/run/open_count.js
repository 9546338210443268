/** How many approvals wait for an answer, for the navigation and the title of the tab. */

import { signal } from "../lib/view.js";

const AGAIN_MS = 2000;

/** The newest of what the gateway has told: another object each time. */
export const openCount = signal(/** @type {{ open: number } | null} */ (null));

/**
 * Watch all runs from now on, for every page.
 * @param {import("../api/socket.js").GatewaySocket} socket
 * @param {{ againMs?: number }} [options]
 */
export function followOpenApprovals(socket, { againMs = AGAIN_MS } = {}) {
  socket.listen(({ type, payload }) => {
    if (type === "APPROVALS_UPDATE") openCount.value = { open: Number(payload.open) };
    // The gateway could not read them, and tells no more of them: it was busy, or its disk was full.
    if (type === "error" && payload.runs === true) setTimeout(() => socket.watchRuns(), againMs);
  });
  socket.watchRuns();
}
