/** The colours of the page for a canvas, which knows no `var(...)`. They change with the scheme of the system. */

import { el } from "../lib/view.js";
import { TOKENS } from "./node.js";

/** @typedef {import("./node.js").Colours} Colours */

/**
 * @param {Element} place In the document: its style decides.
 * @returns {Colours}
 */
export function coloursAt(place) {
  // The value of a token is text such as `light-dark(...)`; only as a colour of something it is computed.
  const probe = el("span", { hidden: true });
  place.append(probe);
  const style = getComputedStyle(probe);
  const found = TOKENS.map((token) => {
    probe.style.setProperty("color", `var(--${token})`);
    return [token, style.color];
  });
  probe.remove();
  return Object.fromEntries(found);
}

/**
 * @param {() => void} changed
 * @returns {() => void} Ends it.
 */
export function watchScheme(changed) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", changed);
  return () => dark.removeEventListener("change", changed);
}
