/** What is done to many runs at once. */

import { change, submit } from "../api/rest.js";
import { FINAL } from "./project.js";
import { preview } from "./rerun.js";

/** @typedef {import("./store.js").RunSummary} RunSummary */
/** @typedef {"stop" | "delete" | "rerun"} Action */
/** @typedef {{ done: string[], failed: { id: string, error: unknown }[] }} Outcome */

/** Requests at a time: the gateway serves others, too. */
const AT_ONCE = 4;

/**
 * Can it be done to this run as it stands?
 * @param {Action} action
 * @param {RunSummary} run
 */
export function suits(action, { status }) {
  return action === "stop" ? !FINAL.has(status) && status !== "interrupting" : FINAL.has(status);
}

/**
 * Do something for each, a few at a time; one that fails keeps no other from its turn.
 * @param {readonly string[]} ids
 * @param {(id: string) => Promise<unknown>} act
 * @returns {Promise<Outcome>}
 */
export async function forAll(ids, act) {
  /** @type {Outcome} */
  const outcome = { done: [], failed: [] };
  const waiting = [...ids];
  const worker = async () => {
    for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
      try {
        await act(id);
        outcome.done.push(id);
      } catch (error) {
        outcome.failed.push({ id, error });
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return outcome;
}

/**
 * @param {Action} action
 * @param {string} id
 */
export function act(action, id) {
  const part = encodeURIComponent(id);
  if (action === "stop") return change("POST", `api/prompt/${part}/interrupt`);
  return action === "delete" ? change("DELETE", `api/history/${part}`) : submit({ baseRun: id });
}

/**
 * How many nodes would run, and how many would be taken over. Runs that cannot be run again count for nothing here; they
 * say why when it is tried.
 * @param {readonly string[]} ids
 */
export async function countNodes(ids) {
  const sum = { runs: 0, reused: 0 };
  await forAll(ids, async (id) => {
    const plan = await preview({ baseRun: id });
    sum.runs += plan.counts?.runs ?? plan.runs.length;
    sum.reused += plan.counts?.reused ?? plan.reused.length;
  });
  return sum;
}
