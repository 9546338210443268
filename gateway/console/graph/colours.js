/** The colours of the page for a canvas, which knows no `var(...)`. They change with the scheme and the forced colours of the system. */

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
  // Else all of them would be the one colour for text that somebody has chosen for all pages.
  probe.style.setProperty("forced-color-adjust", "none");
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
  const watched = ["(prefers-color-scheme: dark)", "(forced-colors: active)"].map((query) => matchMedia(query));
  for (const one of watched) one.addEventListener("change", changed);
  return () => watched.forEach((one) => one.removeEventListener("change", changed));
}
