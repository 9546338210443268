/** Answers that were begun and not sent: kept until the tab is closed, so that a look at the run loses nothing. */

import { parseJson } from "../lib/json.js";

/** `values` holds what was typed, by field. @typedef {{ values: [string, unknown][], comment: string }} Draft */

const PLACE = "innkeeper.answers";

/** @type {Map<string, Draft> | null} */
let drafts = null;

function all() {
  if (drafts !== null) return drafts;
  try {
    drafts = new Map(parseJson(sessionStorage.getItem(PLACE) ?? "[]"));
  } catch {
    drafts = new Map(); // somebody else wrote it
  }
  return drafts;
}

/** @param {string} key @returns {Draft | null} */
export function draftOf(key) {
  return all().get(key) ?? null;
}

/**
 * @param {string} key
 * @param {Draft} draft One without values and comment is none.
 */
export function keepDraft(key, draft) {
  if (draft.values.length === 0 && draft.comment === "") {
    forgetDraft(key);
    return;
  }
  all().set(key, draft);
  store();
}

/** @param {string} key */
export function forgetDraft(key) {
  if (all().delete(key)) store();
}

function store() {
  try {
    sessionStorage.setItem(PLACE, JSON.stringify([...all()]));
  } catch {
    // The browser has no more place: they are kept until the page is loaded again.
  }
}
