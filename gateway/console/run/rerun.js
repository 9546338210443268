/** Runs that begin where another one stands: what they would take over, told before they start, and what they did. */

import { change, submit } from "../api/rest.js";

/** @typedef {import("./project.js").NodeState} NodeState */
/** @typedef {{ baseRun: string, fromNode?: string[], noCache?: boolean }} Request */
/**
 * What a rerun would do: at most 1,000 nodes of each kind; `counts` has all of them.
 * @typedef {{
 *   reused: string[], runs: string[], stale: string[], warnings?: { message: string }[],
 *   counts?: { reused?: number, runs?: number, stale?: number },
 * }} Preview
 */
/** `announced` is null when this browser did not start the run. @typedef {{ reused: string[], ran: string[], announced: Preview | null }} Comparison */

const KEPT = "innkeeper.rerun.";

/**
 * @param {Request} request
 * @returns {Promise<Preview>}
 */
export async function preview(request) {
  /** @type {Partial<Preview> | null} */
  const told = await change("POST", "api/prompt", { body: { ...request, dryRun: true } });
  const { reused = [], runs = [], stale = [], warnings = [], counts = {} } = told ?? {};
  return { reused, runs, stale, warnings, counts };
}

/**
 * Start it, and keep what was announced until the tab closes.
 * @param {Request} request
 * @param {Preview} announced
 * @returns {Promise<string>} The id of the new run.
 */
export async function start(request, announced) {
  const run = await submit(request);
  const { reused, runs, stale } = announced;
  try {
    sessionStorage.setItem(KEPT + run, JSON.stringify({ reused, runs, stale }));
  } catch {
    // The browser has no more place: the run has started, and is not compared.
  }
  return run;
}

/**
 * What was announced of a run before it started.
 * @param {string} run
 * @returns {Preview | null}
 */
export function announced(run) {
  const kept = sessionStorage.getItem(KEPT + run);
  return kept === null ? null : JSON.parse(kept);
}

/**
 * What of a run was taken over, and what ran. Nodes inside of groups count with their group.
 * @param {ReadonlyMap<string, NodeState>} nodes
 * @param {Preview | null} announced
 * @returns {Comparison}
 */
export function compare(nodes, announced) {
  const own = [...nodes].filter(([path]) => !path.includes("/"));
  return {
    reused: own.filter(([, state]) => state.reused || state.stale).map(([path]) => path),
    ran: own.filter(([, state]) => !state.reused && !state.stale && state.attempts !== undefined).map(([path]) => path),
    announced,
  };
}

/**
 * Nodes of which something else was announced than came.
 * @param {Comparison} comparison
 */
export function surprises({ reused, ran, announced }) {
  if (announced === null) return { ranInstead: [], reusedInstead: [] };
  const [toReuse, toRun] = [new Set([...announced.reused, ...announced.stale]), new Set(announced.runs)];
  return {
    ranInstead: ran.filter((path) => toReuse.has(path)),
    reusedInstead: reused.filter((path) => toRun.has(path)),
  };
}
