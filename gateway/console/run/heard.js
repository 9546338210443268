/** What one question to a channel has shown, by the events of its run: pure. */

import { FINAL } from "./project.js";

/** @typedef {import("../api/socket.js").RunEvent} RunEvent */
/** @typedef {{ code?: string, message?: string }} Trouble */
/**
 * What the end of an answer tells.
 * @typedef {{
 *   model?: string, finish_reason?: string, tool_calls?: unknown[],
 *   usage?: { prompt_tokens?: number, completion_tokens?: number },
 * }} End
 */
/** Could it do this: seen, not seen, or nobody has tried. @typedef {"yes" | "no" | "notSeen" | "notTried"} Seen */

/** The one node of the run that asks. */
export const ANSWER = "answer";

/** Pieces of an answer. */
const ANSWERS = new Set(["text_chunk", "reasoning_chunk", "tool_call_chunk"]);

export class Heard {
  lastSeq = 0;
  /** Has the run ended? */
  isOver = false;
  /** Milliseconds from the start of the node to the first piece of its answer. @type {number | null} */
  firstMs = null;
  /** To the end of the answer; null when there was none. @type {number | null} */
  wholeMs = null;
  /** Pieces of text. */
  pieces = 0;
  hasReasoning = false;
  /** @type {Record<string, unknown>} */
  outputs = {};
  /** @type {End} */
  end = {};
  /** @type {Trouble | null} */
  trouble = null;
  #begunAt = 0;

  get isAnswered() {
    return this.wholeMs !== null;
  }

  /** @param {RunEvent} event */
  add({ seq, ts, type, payload }) {
    if (seq <= this.lastSeq) return;
    this.lastSeq = seq;
    const trouble = /** @type {Trouble | undefined} */ (payload.errorDetails ?? payload.errorInfo);
    if (trouble !== undefined) this.trouble = trouble;
    if (type === "NODE_EXECUTING") this.#begunAt = ts;
    else if (type === "NODE_YIELD") this.#addChunk(payload.yieldedContent, ts);
    else if (type === "NODE_COMPLETE" && payload.nodeId === ANSWER) {
      this.wholeMs = ts - this.#begunAt;
      this.outputs = /** @type {Record<string, unknown>} */ (payload.output ?? {});
    } else if (type === "EXECUTION_STATUS_UPDATE") this.isOver = FINAL.has(String(payload.status));
  }

  /**
   * @param {unknown} chunk
   * @param {number} ts
   */
  #addChunk(chunk, ts) {
    const { type, content } = /** @type {{ type?: string, content?: unknown }} */ (chunk ?? {});
    if (type === "finish_reason_chunk") {
      if (typeof content === "object" && content !== null) this.end = /** @type {End} */ (content);
      return;
    }
    if (type === "text_chunk") this.pieces++;
    if (type === "reasoning_chunk") this.hasReasoning = true;
    if (ANSWERS.has(type ?? "")) this.firstMs ??= ts - this.#begunAt;
  }
}

/**
 * What a channel was seen to be able to do.
 * @param {Heard} plain The answer to a plain question.
 * @param {{ tools?: Heard, json?: Heard }} [more] The answers to one that has tools, and to one that wants JSON.
 * @returns {{ pieces: Seen, reasoning: Seen, tools: Seen, json: Seen }}
 */
export function capabilities(plain, { tools, json } = {}) {
  const told = (/** @type {boolean} */ isThere) => isThere ? "yes" : "no";
  const { data } = json?.outputs ?? {};
  return {
    pieces: told(plain.pieces > 1),
    // Many think only when they have to, or tell nothing of it.
    reasoning: plain.hasReasoning ? "yes" : "notSeen",
    tools: tools === undefined ? "notTried" : told((tools.end.tool_calls ?? []).length > 0),
    json: json === undefined ? "notTried" : told(typeof data === "object" && data !== null && !Array.isArray(data)),
  };
}
