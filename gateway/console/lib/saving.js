/** Files that the browser saves. */

import { el } from "./view.js";

/** The browser has begun to read by then. */
const KEPT_MS = 60_000;

/**
 * @param {string} name
 * @param {string} text
 * @param {string} type Media type.
 */
export function saveText(name, text, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), KEPT_MS);
}
