/**
 * The state of a run as its events tell it: the twin of `gateway/runs/view.py`, which gives the same for the same log.
 * Pure but for the view that it changes. Beside it stand the texts of streams, which the gateway keeps elsewhere.
 *
 * Paths of nodes are names that others gave, `__proto__` among them: they are keys of maps, never of objects.
 */

/** @typedef {Record<string, unknown>} Json */
/** @typedef {{ seq: number, ts: number, type: string, payload: Json }} RunEvent */
/**
 * What requests to models took. `cost` is null where no price is known.
 * @typedef {{
 *   calls: number, inputTokens: number, outputTokens: number, totalTokens: number, cost: number | null,
 *   currency: string, unknownCost: number,
 * }} Usage
 */
/**
 * What is known of a node.
 * @typedef {{
 *   status?: string, output?: Json, error?: { code: string, message: string, details?: Json }, attempts?: number,
 *   startedAt?: string, endedAt?: string, reason?: string | null, cause?: string | null,
 *   progress?: { value: number, max: number }, wait?: Json, retryAt?: string, nextAttemptAt?: string,
 *   lastError?: { code: string, message: string }, warnings?: { code: string, message: string }[],
 *   dead?: string[], reused?: boolean, stale?: boolean, cached?: boolean, usage?: Usage,
 * }} NodeState
 */
/**
 * What was streamed. `epoch` grows when the text began anew; `isCut` when its beginning is not kept.
 * @typedef {{ text: string, epoch: number, isCut: boolean }} Stream
 */
/** @typedef {{ message: string, code: string, nodes?: { nodeId: string, code: string, message: string }[] }} ErrorInfo */

export const INTERFACE_NODE = "__WORKFLOW_INTERFACE_OUTPUTS__";
export const FINAL = new Set(["complete", "error", "interrupted"]);
/** So many characters of a stream are kept; the whole is an output of the node. */
export const KEPT_CHARACTERS = 200_000;

const ENDS = new Set(["NODE_COMPLETE", "NODE_ERROR", "NODE_SKIPPED", "NODE_BYPASSED", "NODE_INTERRUPTED"]);
const WAITS = new Set(["NODE_WAITING", "APPROVAL_REQUIRED", "BUDGET_REACHED"]);
const PASSING = /** @type {const} */ (["progress", "wait", "retryAt", "nextAttemptAt", "reason", "lastError"]);
const MARKS = /** @type {const} */ (["dead", "reused", "stale", "cached", "warnings"]);

/** What the events so far say. */
export class RunView {
  lastSeq = 0;
  /** @type {string | null} */
  status = null;
  /** @type {ErrorInfo | null} */
  errorInfo = null;
  /** @type {Map<string, NodeState>} */
  nodes = new Map();
  /** Paths that have their last event. @type {Set<string>} */
  ended = new Set();
  /** Outputs of the run, null before they were told. @type {Json | null} */
  outputs = null;
  /** In the order in which they were asked. @type {Map<string, Json>} */
  approvals = new Map();
  activity = new Activity();
  /** By node. @type {Map<string, Stream>} */
  streams = new Map();
  /** By output of the run. @type {Map<string, Stream>} */
  outputStreams = new Map();

  get isFinal() {
    return this.status !== null && FINAL.has(this.status);
  }

  /**
   * @param {string} path
   * @returns {NodeState}
   */
  node(path) {
    const known = this.nodes.get(path) ?? {};
    this.nodes.set(path, known);
    return known;
  }
}

/** Which nodes work and which wait: the twin of `gateway/events/activity.py`. */
class Activity {
  /** @type {Set<string>} */
  working = new Set();
  /** Path to kind, and name of the event. @type {Map<string, [string, string]>} */
  waiting = new Map();
  /** @type {Set<string>} */
  #groups = new Set();

  get onlyWaits() {
    return this.waiting.size > 0 && this.working.size === 0;
  }

  /**
   * @param {string} path
   * @param {string} type
   * @param {Json} payload
   */
  apply(path, type, payload) {
    if (type === "NODE_EXECUTING") this.#begin(path);
    else if (type === "NODE_RETRY") this.#retry(path, payload);
    else if (WAITS.has(type)) this.#wait(path, text(payload.kind), isTrue(payload.name) ? text(payload.name) : "");
    else if (type === "APPROVAL_ANSWERED") {
      if (this.waiting.delete(path)) this.working.add(path);
    } else if (ENDS.has(type)) {
      this.working.delete(path);
      this.waiting.delete(path);
    }
  }

  /** @param {string} path */
  #begin(path) {
    this.#leaveToInner(path);
    if (this.#groups.has(path)) return;
    this.working.add(path);
    this.waiting.delete(path);
  }

  /**
   * @param {string} path
   * @param {Json} payload
   */
  #retry(path, payload) {
    if (payload.kind === "wait" || isTrue(payload.parked)) {
      this.#wait(path, isTrue(payload.parked) ? "parked" : "wait", "");
    }
  }

  /**
   * @param {string} path
   * @param {string} kind
   * @param {string} name
   */
  #wait(path, kind, name) {
    this.working.delete(path);
    this.waiting.set(path, [kind, name]);
  }

  /** A group does what its inner nodes do. @param {string} path */
  #leaveToInner(path) {
    for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1)) {
      const group = path.slice(0, end);
      if (this.#groups.has(group)) return;
      this.#groups.add(group);
      this.working.delete(group);
    }
  }
}

/**
 * Fold the events of a run, in order.
 * @param {Iterable<RunEvent>} events
 */
export function project(events) {
  const view = new RunView();
  for (const event of events) apply(view, event);
  return view;
}

/**
 * Apply one event; one that was seen before changes nothing.
 * @param {RunView} view
 * @param {RunEvent} event
 * @returns {string | null} The path of the node that it changed; "" when it changed the run.
 */
export function apply(view, event) {
  if (event.seq <= view.lastSeq) return null;
  view.lastSeq = event.seq;
  const { type, payload } = event;
  if (type === "NODE_YIELD") return addChunk(view.streams, text(payload.sourceNodeId), payload);
  if (!("nodeId" in payload)) return applyToRun(view, type, payload);
  const path = text(payload.nodeId);
  view.activity.apply(path, type, payload);
  if (type === "NODE_STREAM_RESET") restart(view.streams, path);
  else if (type === "NODE_COMPLETE" && path === INTERFACE_NODE) {
    view.outputs = /** @type {Json} */ (payload.output);
    return "";
  } else applyToNode(view, path, event);
  return path;
}

/**
 * @param {RunView} view
 * @param {string} type
 * @param {Json} payload
 */
function applyToRun(view, type, payload) {
  if (type === "EXECUTION_STATUS_UPDATE") {
    view.status = text(payload.status);
    view.errorInfo = /** @type {ErrorInfo | undefined} */ (payload.errorInfo) ?? null;
  } else if (type === "WORKFLOW_INTERFACE_YIELD") {
    addChunk(view.outputStreams, text(payload.interfaceOutputKey), payload);
  } else if (type === "WORKFLOW_INTERFACE_RESET") restart(view.outputStreams, text(payload.interfaceOutputKey));
  return "";
}

/**
 * @param {RunView} view
 * @param {string} path
 * @param {RunEvent} event
 */
function applyToNode(view, path, event) {
  const { type, payload } = event;
  const moment = new Date(event.ts).toISOString();
  if (type === "NODE_PROGRESS") {
    view.node(path).progress = { value: Number(payload.value), max: Number(payload.max) };
  } else if (view.ended.has(path)) return;
  else if (type === "NODE_EXECUTING") executing(view, path, payload, moment);
  else if (type === "NODE_WARNING") warning(view.node(path), payload);
  else if (type === "NODE_RETRY") retry(view.node(path), payload);
  else if (type === "NODE_WAITING") waiting(view.node(path), payload);
  else if (type === "APPROVAL_REQUIRED" || type === "BUDGET_REACHED") approvalRequired(view, path, event, moment);
  else if (type === "APPROVAL_ANSWERED") approvalAnswered(view, path, event, moment);
  else if (ENDS.has(type)) end(view, path, event, moment);
}

/**
 * @param {RunView} view
 * @param {string} path
 * @param {Json} payload
 * @param {string} moment
 */
function executing(view, path, payload, moment) {
  const node = view.node(path);
  for (const passing of PASSING) delete node[passing];
  closeApproval(view, path, moment);
  node.status = "running";
  node.attempts = attempt(payload);
  node.startedAt ??= moment;
}

/** @param {Json} payload */
function attempt(payload) {
  return "attempt" in payload ? Number(payload.attempt) : 1;
}

/**
 * @param {NodeState} node
 * @param {Json} payload
 */
function retry(node, payload) {
  node.status = payload.kind === "wait" || isTrue(payload.parked) ? "waiting" : "running";
  node.retryAt = text(payload.retryAt);
  node.lastError = { code: text(payload.code), message: text(payload.message) };
  node.nextAttemptAt = "nextAttemptAt" in payload ? text(payload.nextAttemptAt) : node.retryAt;
  if (isTrue(payload.reason)) node.reason = text(payload.reason);
}

/**
 * Told while the node runs; the warnings that come with its end replace these.
 * @param {NodeState} node
 * @param {Json} payload
 */
function warning(node, payload) {
  const told = { code: text(payload.code), message: text(payload.message) };
  const known = node.warnings ?? [];
  const isKnown = known.some((one) => one.code === told.code && one.message === told.message);
  node.warnings = isKnown ? known : [...known, told];
}

/**
 * @param {NodeState} node
 * @param {Json} payload
 */
function waiting(node, payload) {
  const { promptId: _run, nodeId: _node, ...wait } = payload;
  node.status = "waiting";
  node.wait = wait;
}

/**
 * @param {RunView} view
 * @param {string} path
 * @param {RunEvent} event
 * @param {string} moment
 */
function approvalRequired(view, path, event, moment) {
  waiting(view.node(path), event.payload);
  // One that asks again does so at the end of the list.
  view.approvals.delete(path);
  const asked = { kind: "approval", form: [], data: null, ...event.payload };
  view.approvals.set(path, { ...asked, status: "open", requiredAt: moment, seq: event.seq });
}

/**
 * @param {RunView} view
 * @param {string} path
 * @param {RunEvent} event
 * @param {string} moment
 */
function approvalAnswered(view, path, event, moment) {
  const asked = view.approvals.get(path);
  const { payload } = event;
  if ("attempt" in payload && (asked?.attempt ?? null) !== payload.attempt) return; // it has asked again meanwhile
  const node = view.node(path);
  if (node.wait !== undefined) {
    delete node.wait;
    node.status = "running";
  }
  const answered = { status: "answered", answer: payload.answer ?? null, answeredAt: moment };
  view.approvals.set(path, { ...(asked ?? { approvalId: path, nodeId: path, seq: event.seq }), ...answered });
}

/**
 * @param {RunView} view
 * @param {string} path
 * @param {string} moment
 */
function closeApproval(view, path, moment) {
  const asked = view.approvals.get(path);
  if (asked?.status === "open") view.approvals.set(path, { ...asked, status: "closed", closedAt: moment });
}

/**
 * @param {RunView} view
 * @param {string} path
 * @param {RunEvent} event
 * @param {string} moment
 */
function end(view, path, event, moment) {
  view.ended.add(path);
  const node = view.node(path);
  for (const passing of PASSING) delete node[passing];
  Object.assign(node, ending(event), { endedAt: moment });
  closeApproval(view, path, moment);
}

/**
 * @param {RunEvent} event
 * @returns {NodeState}
 */
function ending({ type, payload }) {
  if (type === "NODE_COMPLETE") {
    const output = /** @type {Json} */ (payload.output);
    return { status: "complete", output, attempts: attempt(payload), ...marks(payload) };
  }
  if (type === "NODE_ERROR") {
    const error = /** @type {{ code: string, message: string }} */ (payload.errorDetails);
    return { status: "error", error, ...(isTrue(payload.attempts) ? { attempts: Number(payload.attempts) } : {}) };
  }
  if (type === "NODE_SKIPPED") {
    const [reason, cause] = [payload.reason, payload.causeNodeId].map((one) => isNothing(one) ? null : text(one));
    return { status: "skipped", reason: reason ?? null, cause: cause ?? null };
  }
  if (type === "NODE_BYPASSED") {
    const output = /** @type {Json} */ (payload.pseudoOutputs);
    return { status: "skipped", reason: "bypassed", output, ...marks(payload) };
  }
  return { status: "interrupted" };
}

/** @param {Json} payload */
function marks(payload) {
  return Object.fromEntries(MARKS.filter((key) => isTrue(payload[key])).map((key) => [key, payload[key]]));
}

/**
 * @param {Map<string, Stream>} streams
 * @param {string} key
 * @param {Json} payload
 */
function addChunk(streams, key, payload) {
  const chunk = /** @type {{ type?: string, content?: unknown } | undefined} */ (payload.yieldedContent);
  const stream = streams.get(key) ?? { text: "", epoch: 0, isCut: false };
  if (chunk?.type === "text_chunk" && typeof chunk.content === "string") streams.set(key, grown(stream, chunk.content));
  else if ("gap" in payload) streams.set(key, { ...stream, isCut: true });
  return key;
}

/**
 * @param {Stream} stream
 * @param {string} piece
 * @returns {Stream}
 */
function grown(stream, piece) {
  const text = stream.text + piece;
  // Cut in large steps: whoever shows the text begins anew each time.
  if (text.length <= 2 * KEPT_CHARACTERS) return { ...stream, text };
  const end = text.slice(-KEPT_CHARACTERS).replace(/^[\udc00-\udfff]/, ""); // half of a character
  return { text: end, epoch: stream.epoch + 1, isCut: true };
}

/**
 * @param {Map<string, Stream>} streams
 * @param {string} key
 */
function restart(streams, key) {
  const stream = streams.get(key);
  if (stream !== undefined) streams.set(key, { text: "", epoch: stream.epoch + 1, isCut: false });
}

/** @param {unknown} value */
function text(value) {
  return isNothing(value) ? "None" : String(value);
}

/** @param {unknown} value */
function isNothing(value) {
  return value === null || value === undefined;
}

/** What Python takes for true: no empty list or object. @param {unknown} value */
function isTrue(value) {
  if (typeof value === "object" && value !== null) return Object.keys(value).length > 0;
  return Boolean(value);
}
