/** A control with its label above it. */

import { el } from "./view.js";

/**
 * @param {import("./view.js").Shown} word
 * @param {HTMLElement} control Has an id.
 */
export function labelled(word, control) {
  return el("div", { class: "field" }, el("label", { for: control.id }, word), control);
}
