/** Facts with their names. */

import { el } from "./view.js";

/** @typedef {import("./view.js").Shown} Shown */
/** @typedef {import("./view.js").Plain} Plain */

/**
 * @param {readonly (readonly [Shown, Plain | Plain[]])[]} rows Name and value; without a value a row is left out.
 */
export function factList(rows) {
  const known = rows.filter(([, value]) => value !== null);
  return el("dl", { class: "summary" }, ...known.flatMap(([word, value]) => [el("dt", {}, word), el("dd", {}, value)]));
}
