/** Files that go to the gateway and come from it. */

import { el } from "./view.js";
import { t } from "./words.js";

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

/**
 * How far an upload is.
 * @param {import("./view.js").Shown} name Of the file.
 * @param {() => number} share From 0 to 1.
 */
export function progressBar(name, share) {
  return el("progress", { "aria-label": t("uploadOf", { name }), max: 1, value: share });
}
