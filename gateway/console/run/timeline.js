/**
 * When nodes queued, ran and waited, as events tell it: spans of each node, beside the state that `project.js` folds.
 * Pure but for the timeline that it changes. Moments are milliseconds since 1970, by the gateway's clock.
 */

import { edgesOf, endsOf, nodesOf } from "../lib/documents.js";
import { FINAL, INTERFACE_NODE } from "./project.js";

/** @typedef {import("./project.js").RunEvent} RunEvent */
/** @typedef {import("./project.js").NodeState} NodeState */
/** @typedef {Record<string, unknown>} Json */
/** Of an attempt that failed; `details` has the provider's words. @typedef {{ code: string, message: string, details?: Json }} Failure */
/**
 * `attempt`: the node ran. `retry`: it waits for its next attempt. `wait`: for a time, an event or somebody. `outcome`
 * says how an attempt ended: as the node did, `failed` or `wait` before the next one, or `lost` with its worker.
 * @typedef {{
 *   kind: "attempt" | "retry" | "wait", begin: number, end: number | null, attempt: number,
 *   outcome?: string, failure?: Failure, reason?: string, until?: string | null, wait?: Json,
 * }} Span
 */
/** `endedAt` is null as long as the node has not ended. @typedef {{ spans: Span[], endedAt: number | null, failure?: Failure }} NodeTimes */
/** @typedef {{ status: string, begin: number, end: number | null }} RunSpan */

const ENDS = new Map([
  ["NODE_COMPLETE", "complete"],
  ["NODE_ERROR", "error"],
  ["NODE_SKIPPED", "skipped"],
  ["NODE_BYPASSED", "skipped"],
  ["NODE_INTERRUPTED", "interrupted"],
]);
const WAITS = new Set(["NODE_WAITING", "APPROVAL_REQUIRED", "BUDGET_REACHED"]);

export class Timeline {
  /** @type {Map<string, NodeTimes>} */
  nodes = new Map();
  /** States of the run, in order. @type {RunSpan[]} */
  run = [];
  /** Of the first event, null before it. @type {number | null} */
  begin = null;
  /** Of the last event. */
  last = 0;

  /** @param {string} path */
  node(path) {
    const known = this.nodes.get(path) ?? { spans: [], endedAt: null };
    this.nodes.set(path, known);
    return known;
  }

  get isOver() {
    return FINAL.has(this.run.at(-1)?.status ?? "");
  }
}

/**
 * @param {Timeline} timeline
 * @param {RunEvent} event Each once, in order.
 */
export function record(timeline, { type, payload, ts }) {
  timeline.begin ??= ts;
  timeline.last = Math.max(timeline.last, ts);
  if (type === "EXECUTION_STATUS_UPDATE") recordRun(timeline, String(payload.status), ts);
  if (typeof payload.nodeId !== "string" || payload.nodeId === INTERFACE_NODE) return;
  if (type === "NODE_EXECUTING") executing(timeline.node(payload.nodeId), Number(payload.attempt ?? 1), ts);
  else if (type === "NODE_RETRY") retry(timeline.node(payload.nodeId), payload, ts);
  else if (WAITS.has(type)) waiting(timeline.node(payload.nodeId), payload, ts);
  else if (type === "APPROVAL_ANSWERED") answered(timeline.node(payload.nodeId), ts);
  else if (ENDS.has(type)) ended(timeline.node(payload.nodeId), ENDS.get(type) ?? "", payload, ts);
}

/**
 * @param {Timeline} timeline
 * @param {string} status
 * @param {number} ts
 */
function recordRun(timeline, status, ts) {
  const last = timeline.run.at(-1);
  if (last?.status === status) return;
  if (last !== undefined) last.end = Math.max(last.begin, ts);
  timeline.run.push({ status, begin: ts, end: FINAL.has(status) ? ts : null });
}

/** @param {NodeTimes} node */
function open(node) {
  const last = node.spans.at(-1);
  return last !== undefined && last.end === null ? last : null;
}

/**
 * @param {NodeTimes} node
 * @param {number} ts
 * @param {Partial<Span>} [how]
 */
function close(node, ts, how = {}) {
  const span = open(node);
  // The gateway's clock may have been set back.
  if (span !== null) Object.assign(span, { end: Math.max(span.begin, ts) }, span.kind === "attempt" ? how : {});
}

/**
 * @param {NodeTimes} node
 * @param {number} attempt
 * @param {number} ts
 */
function executing(node, attempt, ts) {
  const span = open(node);
  if (node.endedAt !== null || (span?.kind === "attempt" && span.attempt === attempt)) return;
  close(node, ts, { outcome: "lost" });
  node.spans.push({ kind: "attempt", begin: ts, end: null, attempt });
}

/**
 * @param {NodeTimes} node
 * @param {Json} payload
 * @param {number} ts
 */
function retry(node, payload, ts) {
  if (node.endedAt !== null) return;
  const attempt = Number(payload.attempt ?? 1);
  const told = /** @type {Partial<Failure>} */ (payload.errorDetails ?? {});
  const failure = { ...told, code: String(payload.code), message: String(payload.message) };
  const reason = payload.reason ? { reason: String(payload.reason) } : {};
  close(node, ts, { outcome: payload.kind === "wait" ? "wait" : "failed", failure, ...reason });
  const until = String(payload.nextAttemptAt ?? payload.retryAt);
  node.spans.push({ kind: "retry", begin: ts, end: null, attempt, until, ...reason });
}

/**
 * @param {NodeTimes} node
 * @param {Json} payload
 * @param {number} ts
 */
function waiting(node, payload, ts) {
  if (node.endedAt !== null) return;
  const attempt = node.spans.at(-1)?.attempt ?? 1;
  const { promptId: _run, nodeId: _node, ...wait } = payload;
  const until = typeof wait.until === "string" ? wait.until : null;
  close(node, ts, { outcome: "wait" });
  node.spans.push({ kind: "wait", begin: ts, end: null, attempt, until, wait });
}

/**
 * @param {NodeTimes} node
 * @param {number} ts
 */
function answered(node, ts) {
  const span = open(node);
  if (span?.kind !== "wait") return;
  close(node, ts);
  node.spans.push({ kind: "attempt", begin: ts, end: null, attempt: span.attempt });
}

/**
 * @param {NodeTimes} node
 * @param {string} outcome
 * @param {Json} payload
 * @param {number} ts
 */
function ended(node, outcome, payload, ts) {
  if (node.endedAt !== null) return;
  const error = /** @type {Failure | undefined} */ (payload.errorDetails);
  const failure = error === undefined ? {} : { failure: error };
  close(node, ts, { outcome, ...failure });
  Object.assign(node, { endedAt: ts }, failure);
}

/**
 * What is left to tell of a run whose events are gone: when each node began and ended.
 * @param {{ status: string, startedAt?: string, completedAt?: string, nodeStatus: Record<string, NodeState> }} run
 */
export function timelineOf(run) {
  const timeline = new Timeline();
  for (const [path, state] of Object.entries(run.nodeStatus)) {
    const [begin, end] = [Date.parse(state.startedAt ?? ""), Date.parse(state.endedAt ?? "")];
    const node = timeline.node(path);
    if (!Number.isNaN(end)) node.endedAt = end;
    if (state.error !== undefined) node.failure = state.error;
    if (Number.isNaN(begin)) continue;
    const failure = state.error === undefined ? {} : { failure: state.error };
    const attempt = { attempt: state.attempts ?? 1, outcome: state.status ?? "", ...failure };
    node.spans.push({ kind: "attempt", begin, end: Number.isNaN(end) ? null : end, ...attempt });
  }
  const moments = [...timeline.nodes.values()].flatMap(({ spans }) => spans.flatMap(({ begin, end }) => [begin, end]));
  const known = [run.startedAt, run.completedAt].map((moment) => Date.parse(moment ?? "")).concat(moments.map(Number));
  const fitting = known.filter((moment) => moment > 0);
  if (fitting.length === 0) return timeline;
  // Not Math.min(...): a run may have 100,000 nodes.
  timeline.begin = fitting.reduce((one, other) => Math.min(one, other));
  timeline.last = fitting.reduce((one, other) => Math.max(one, other));
  timeline.run.push({ status: run.status, begin: timeline.last, end: timeline.last });
  return timeline;
}

/**
 * How long a node waited in a queue: from when all that it needs had ended to its first attempt.
 * @param {Timeline} timeline
 * @param {string} path
 * @param {readonly string[] | undefined} sources Paths of the nodes that it needs; undefined when they are not known.
 * @returns {{ begin: number, end: number } | null} Null when it did not wait, or nobody knows.
 */
export function queued(timeline, path, sources) {
  const first = timeline.nodes.get(path)?.spans[0];
  if (first === undefined || sources === undefined) return null;
  const ends = sources.map((source) => timeline.nodes.get(source)?.endedAt ?? Infinity);
  const started = timeline.run.find(({ status }) => status === "running")?.begin ?? timeline.begin ?? first.begin;
  const begin = Math.max(started, ...ends);
  // A node that reads a stream begins before its source has ended.
  return begin < first.begin ? { begin, end: first.begin } : null;
}

/**
 * What each node of a document needs.
 * @param {import("../lib/documents.js").Json} document
 * @returns {Map<string, string[]>}
 */
export function sourcesOf(document) {
  /** @type {Map<string, string[]>} */
  const sources = new Map(nodesOf(document).map((node) => [String(node.id), []]));
  for (const edge of edgesOf(document)) {
    const { source, target } = endsOf(edge);
    sources.get(target)?.push(source);
  }
  return sources;
}

/** @typedef {{ begin: number, end: number }} Gap */
/**
 * Where moments stand from 0 to 1. `gaps` are shown short.
 * @typedef {{ begin: number, end: number, gaps: readonly Gap[], at: (moment: number) => number }} Scale
 */

/** A gap is shown as long as so much of what is left, and only a longer one is shortened. */
const GAP_SHARE = 0.03;
const SHORTEST_GAP_MS = 2000;

/**
 * @param {Timeline} timeline
 * @param {number} now
 * @param {{ isCollapsed: boolean }} options Is time short in which no node ran?
 * @returns {Scale}
 */
export function scaleOf(timeline, now, { isCollapsed }) {
  const begin = timeline.begin ?? now;
  const end = Math.max(begin + 1, timeline.isOver ? timeline.last : Math.max(now, timeline.last));
  const gaps = isCollapsed ? idle(timeline, { begin, end }).filter(isLong) : [];
  const busy = end - begin - gaps.reduce((sum, gap) => sum + gap.end - gap.begin, 0);
  const short = Math.max(1, busy) * GAP_SHARE;
  const length = Math.max(1, busy) + gaps.length * short;
  const at = (/** @type {number} */ moment) => {
    let place = Math.min(Math.max(moment, begin), end) - begin;
    for (const gap of gaps) {
      if (moment <= gap.begin) break;
      const inside = Math.min(moment, gap.end) - gap.begin;
      place += inside * (short / (gap.end - gap.begin)) - inside;
    }
    return Math.min(1, Math.max(0, place / length));
  };
  return { begin, end, gaps, at };
}

/** @param {Gap} gap */
function isLong({ begin, end }) {
  return end - begin > SHORTEST_GAP_MS;
}

/**
 * Times in which no node ran.
 * @param {Timeline} timeline
 * @param {Gap} whole
 * @returns {Gap[]}
 */
export function idle(timeline, { begin, end }) {
  const work = [...timeline.nodes.values()]
    .flatMap(({ spans }) => spans.filter(({ kind }) => kind === "attempt"))
    .sort((one, other) => one.begin - other.begin);
  /** @type {Gap[]} */
  const gaps = [];
  let until = begin;
  for (const span of work) {
    if (span.begin > until) gaps.push({ begin: until, end: span.begin });
    until = Math.max(until, span.end ?? end);
  }
  if (until < end) gaps.push({ begin: until, end });
  return gaps;
}

/**
 * Does a node belong to what is shown?
 * @param {NodeTimes} node
 * @param {NodeState} state
 * @param {string} cut `failed`: it did, or one of its attempts; `waiting`: it does.
 */
export function isShown({ spans }, { status }, cut) {
  if (cut === "failed") {
    return status === "error" || spans.some(({ outcome }) => outcome === "failed" || outcome === "lost");
  }
  if (cut === "waiting") {
    return status === "waiting" || spans.some(({ kind, end }) => kind !== "attempt" && end === null);
  }
  return true;
}
