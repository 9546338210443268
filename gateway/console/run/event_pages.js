/** The events of a run, page by page: read as server-sent events, and only as far as a page goes. */

import { awayBecause, getStream } from "../api/rest.js";
import { parseJson } from "../lib/json.js";

/** @typedef {import("./project.js").RunEvent} RunEvent */
/** `next`: the last event that was looked at. @typedef {{ events: RunEvent[], next: number, isFull: boolean }} EventPage */
/**
 * Behind `after`, up to `upTo`; of one `type`, or of all when it is empty.
 * @typedef {{ after: number, upTo: number, type: string, limit: number, signal: AbortSignal }} Wanted
 */

/** Types of events, as docs/events.md has them. */
export const EVENT_TYPES = [
  "EXECUTION_STATUS_UPDATE",
  "NODE_EXECUTING",
  "NODE_PROGRESS",
  "NODE_WARNING",
  "NODE_YIELD",
  "NODE_STREAM_RESET",
  "NODE_RETRY",
  "NODE_WAITING",
  "APPROVAL_REQUIRED",
  "APPROVAL_ANSWERED",
  "BUDGET_REACHED",
  "NODE_COMPLETE",
  "NODE_ERROR",
  "NODE_SKIPPED",
  "NODE_BYPASSED",
  "NODE_INTERRUPTED",
  "WORKFLOW_INTERFACE_YIELD",
  "WORKFLOW_INTERFACE_RESET",
];

/**
 * Take whole events from the begin of a text.
 * @param {string} text
 * @returns {{ events: RunEvent[], rest: string }} `rest`: what is not whole yet.
 */
export function takeEvents(text) {
  const blocks = text.split("\n\n");
  const rest = blocks.pop() ?? "";
  const data = blocks.map((block) => block.split("\n").find((line) => line.startsWith("data: ")));
  return { events: data.filter((line) => line !== undefined).map((line) => parseJson(line.slice(6))), rest };
}

/**
 * Read a page. It holds no connection afterwards: a browser has six for all tabs.
 * @param {string} run
 * @param {Wanted} wanted
 * @returns {Promise<EventPage>}
 */
export async function eventPage(run, { after, upTo, type, limit, signal }) {
  /** @type {EventPage} */
  const page = { events: [], next: after, isFull: false };
  if (upTo <= after) return page;
  const body = await getStream(`api/prompt/${encodeURIComponent(run)}/events`, {
    query: { after: String(after) },
    signal,
  });
  if (body === null) return page;
  const reader = body.pipeThrough(/** @type {TransformStream<Uint8Array, string>} */ (new TextDecoderStream()))
    .getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return page;
      const { events, rest } = takeEvents(text + value);
      text = rest;
      for (const event of events) {
        if (page.events.length === limit) return { ...page, isFull: true };
        page.next = event.seq;
        if (type === "" || event.type === type) page.events.push(event);
      }
      if (page.next >= upTo) return page;
    }
  } catch (error) {
    throw awayBecause(error);
  } finally {
    reader.cancel().catch(() => {}); // it may have been broken off already
  }
}
