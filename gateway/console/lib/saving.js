/** Files that the browser saves. */

import { el } from "./view.js";

/** The browser has begun to read by then. */
const KEPT_MS = 60_000;

/**
 * @param {string} name
 * @param {Blob} blob
 */
export function saveBlob(name, blob) {
  const address = URL.createObjectURL(blob);
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), KEPT_MS);
}
