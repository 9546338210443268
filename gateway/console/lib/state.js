/** States of runs and nodes: a sign and a word beside each colour, so that none is told by colour alone. */

import { name } from "./format.js";
import { el } from "./view.js";
import { t } from "./words.js";

/** @typedef {import("./words.js").Word} Word */

/** @type {ReadonlyMap<string, { sign: string, word: Word }>} */
const STATES = new Map([
  ["queued", { sign: "\u2026", word: "queued" }],
  ["pending", { sign: "\u25cb", word: "pending" }],
  ["running", { sign: "\u25b6", word: "running" }],
  ["waiting", { sign: "\u25d4", word: "waiting" }],
  ["paused", { sign: "\u2016", word: "paused" }],
  ["interrupting", { sign: "\u25a1", word: "interrupting" }],
  ["complete", { sign: "\u2713", word: "complete" }],
  ["error", { sign: "\u2717", word: "failedState" }],
  ["interrupted", { sign: "\u25a0", word: "interrupted" }],
  ["skipped", { sign: "\u21b7", word: "skipped" }],
]);

/** What nodes wait for, by the kind of the wait. @type {ReadonlyMap<string, Word>} */
const WAITS = new Map([
  ["delay", "waitTime"],
  ["until", "waitTime"],
  ["approval", "waitApproval"],
  ["budget", "waitBudget"],
  ["wait", "waitNext"],
  ["parked", "waitNext"],
]);

/** Why nodes were skipped. @type {ReadonlyMap<string, Word>} */
const SKIPS = new Map([
  ["upstream_error", "skipUpstreamError"],
  ["branch_not_taken", "skipBranch"],
  ["not_chosen", "skipNotChosen"],
  ["timed_out", "skipTimedOut"],
  ["no_error", "skipNoError"],
  ["no_value", "skipNoValue"],
  ["not_needed", "skipNotNeeded"],
  ["not_targeted", "skipNotTargeted"],
  ["preview", "skipPreview"],
  ["bypassed", "skipBypassed"],
]);

/**
 * What a node waits for: an event by its name.
 * @param {Record<string, unknown>} wait
 */
export function waitedFor(wait) {
  const word = WAITS.get(String(wait.kind));
  return word === undefined ? name(String(wait.name ?? wait.kind ?? "")) : t(word);
}

/**
 * Does a node wait for somebody's answer?
 * @param {{ wait?: Record<string, unknown> }} state
 */
export function isAsking({ wait }) {
  return wait?.kind === "approval" || wait?.kind === "budget";
}

/**
 * Why a node was skipped; a code that is new here stays a code.
 * @param {string} code
 */
export function skipReason(code) {
  const word = SKIPS.get(code);
  return word === undefined ? name(code) : t(word);
}

/** States that a list of runs can be cut down to. */
export const RUN_STATES = ["queued", "running", "waiting", "paused", "complete", "error", "interrupted"];

/**
 * The word for a state.
 * @param {string} state
 */
export function stateWord(state) {
  return t(STATES.get(state)?.word ?? "unknownState");
}

/** @param {string} state */
export function stateSign(state) {
  return /** @type {import("./view.js").Shown} */ (STATES.get(state)?.sign ?? "?");
}

/**
 * @param {string} state
 * @returns {HTMLElement}
 */
export function stateBadge(state) {
  return badge(state, stateWord(state));
}

/**
 * A word with the colour of a state: for other things that are well or not.
 * @param {string} state
 * @param {import("./view.js").Shown} word
 * @param {import("./view.js").Shown} [sign] That of the state, unless it is told.
 * @returns {HTMLElement}
 */
export function badge(state, word, sign = stateSign(state)) {
  const known = STATES.has(state) ? state : "unknown";
  return el("span", { class: `state state-${known}` }, el("span", { "aria-hidden": "true" }, sign), word);
}
