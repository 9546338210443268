/** The smallest question to a channel, by a run: so by the workers' own keys, proxy and protocols. */

import { change, GatewayError, getJson, submit } from "../api/rest.js";
import { ANSWER, Heard } from "./heard.js";

/** @typedef {import("../api/socket.js").GatewaySocket} GatewaySocket */
/** @typedef {{ run: string, heard: Heard }} Asked */

const ANSWER_WITHIN_MS = 120_000;
const QUESTION = "Say hello in three words.";
const WORD = { type: "object", properties: { word: { type: "string" } }, required: ["word"] };
const TOOL = { type: "function", function: { name: "note", description: "Writes a word down.", parameters: WORD } };

/** More than a plain question: what is asked, and how. */
export const WITH_TOOLS = {
  question: "Note the word inn.",
  inputs: { parameters: { tools: [TOOL], tool_choice: "required" } },
};
export const WITH_SCHEMA = { question: "Give the word inn as JSON.", inputs: { responseSchema: WORD } };
const PLAIN = { question: QUESTION, inputs: {} };

/**
 * @param {string} channel
 * @param {string} model
 * @param {{ question: string, inputs: Record<string, unknown> }} wish
 */
function documentFor(channel, model, { question, inputs }) {
  const all = {
    activated_model_id: `channel:${channel}/${model}`,
    messages: [{ role: "user", content: question }],
    stream: true,
    // What nobody asks for no model refuses.
    temperature: null,
    max_tokens: null,
    top_p: null,
    ...inputs,
  };
  const node = { id: ANSWER, type: "core:GenericLlmRequest", inputValues: all, retry: { maximumAttempts: 1 } };
  return { name: `test of channel ${channel}`, nodes: [node], edges: [] };
}

/**
 * Ask, and hear until the run has ended.
 * @param {GatewaySocket} socket
 * @param {{ channel: string, model: string }} whom
 * @param {{ wish?: typeof WITH_TOOLS | typeof WITH_SCHEMA | typeof PLAIN, signal: AbortSignal }} options `signal` stops
 *   the run.
 * @returns {Promise<Asked>}
 */
export async function ask(socket, { channel, model }, { wish = PLAIN, signal }) {
  const run = await submit(documentFor(channel, model, wish));
  const stop = () => change("POST", `api/prompt/${encodeURIComponent(run)}/interrupt`).catch(() => {});
  const timer = setTimeout(stop, ANSWER_WITHIN_MS);
  signal.addEventListener("abort", stop);
  try {
    if (signal.aborted) await stop();
    signal.throwIfAborted();
    return { run, heard: await hear(socket, run, signal) };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  }
}

/**
 * @param {GatewaySocket} socket
 * @param {string} run
 * @param {AbortSignal} signal
 * @returns {Promise<Heard>}
 */
async function hear(socket, run, signal) {
  let heard = new Heard();
  /** @type {PromiseWithResolvers<Heard>} */
  const whole = Promise.withResolvers();
  const unfollow = socket.follow(run, {
    lastSeq: () => heard.lastSeq,
    restart: () => (heard = new Heard()),
    receive: (events) => {
      for (const event of events) heard.add(event);
      if (heard.isOver) whole.resolve(heard);
    },
    // Its events are gone: only they tell what was seen.
    refuse: (code, message) => whole.reject(new GatewayError(0, { code, message })),
  });
  const leave = () => whole.reject(signal.reason);
  signal.addEventListener("abort", leave);
  try {
    return await whole.promise;
  } finally {
    signal.removeEventListener("abort", leave);
    unfollow();
  }
}

/**
 * What a run cost, as far as prices are known.
 * @param {string} run
 * @returns {Promise<{ cost?: number | string | null, currency?: string }>}
 */
export async function costOf(run) {
  /** @type {{ usage?: { cost?: number | string | null, currency?: string } }} */
  const status = await getJson(`api/prompt/${encodeURIComponent(run)}`);
  return status.usage ?? {};
}
