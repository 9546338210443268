/** What was typed into forms before: kept in this browser, without secrets. */

import { parseJson } from "../lib/json.js";

const PREFIX = "innkeeper.inputs.";
/** Longer values, such as pictures, are not kept. */
const MOST_CHARS = 20_000;

/**
 * @param {string} form
 * @returns {Map<string, unknown>}
 */
export function keptValues(form) {
  try {
    const found = parseJson(localStorage.getItem(PREFIX + form) ?? "[]");
    return new Map(Array.isArray(found) ? found.filter((pair) => Array.isArray(pair) && pair.length === 2) : []);
  } catch {
    return new Map(); // somebody else wrote it
  }
}

/**
 * @param {string} form
 * @param {ReadonlyMap<string, unknown>} values Without secrets.
 */
export function keepValues(form, values) {
  const short = [...values].filter(([, value]) => JSON.stringify(value).length <= MOST_CHARS);
  try {
    if (short.length === 0) localStorage.removeItem(PREFIX + form);
    else localStorage.setItem(PREFIX + form, JSON.stringify(short));
  } catch {
    // The browser has no more place, or keeps nothing: the form works without.
  }
}
