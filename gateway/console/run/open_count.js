/** How many approvals wait for an answer, for the navigation and the title of the tab. */

import { signal } from "../lib/view.js";

/** The newest of what the gateway has told: another object each time. */
export const openCount = signal(/** @type {{ open: number } | null} */ (null));

/** @param {import("../api/socket.js").GatewaySocket} socket */
export function followOpenApprovals(socket) {
  socket.listen((frame) => {
    if (frame.type === "APPROVALS_UPDATE") openCount.value = { open: Number(frame.payload.open) };
  });
  socket.watchRuns();
}
