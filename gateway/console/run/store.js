/** One run, followed: its events become a view, and whoever watches is told of changes once per picture. */

import { GatewayError, getJson, isPassing } from "../api/rest.js";
import { batch, signal } from "../lib/view.js";
import { apply, INTERFACE_NODE, RunView } from "./project.js";
import { record, Timeline, timelineOf } from "./timeline.js";

/** @typedef {import("./project.js").NodeState} NodeState */
/** @typedef {import("./project.js").Stream} Stream */
/** @typedef {import("./project.js").RunEvent} RunEvent */
/** @typedef {import("./project.js").ErrorInfo} ErrorInfo */
/** @typedef {import("../graph/canvas.js").Canvas} Canvas */
/** Who is told of nodes, as a canvas is. @typedef {Pick<Canvas, "show" | "add" | "touch">} Watcher */
/** @typedef {{ path: string, state: NodeState, stream: Stream | null }} NodeShown */
/**
 * A run in a list, as the gateway tells it.
 * @typedef {{
 *   promptId: string, status: string, workflowId?: string, workflowName?: string, submittedAt: string,
 *   startedAt?: string, completedAt?: string, durationMs?: number, openApprovals?: number,
 *   baseRun?: string, waiting?: { kind: string, name?: string }[], errorInfo?: ErrorInfo, cost?: number,
 *   currency?: string, stuck?: { code: string, message: string }, projectId?: string, workflowVersion?: number,
 *   trigger?: { id?: string, name?: string, kind?: string },
 * }} RunSummary
 */
/**
 * @typedef {RunSummary & {
 *   outputs: Record<string, unknown>, nodeStatus: Record<string, NodeState>, errorInfo?: ErrorInfo,
 *   usage?: import("./project.js").Usage,
 * }} RunStatus
 */

const HIDDEN_FLUSH_MS = 250;
const AGAIN_MS = 1000;

export class RunStore {
  view = new RunView();
  /** When nodes queued, ran and waited. */
  timeline = new Timeline();
  /** The state to show, null before anything is known. */
  status = signal(/** @type {string | null} */ (null));
  errorInfo = signal(/** @type {ErrorInfo | null} */ (null));
  outputs = signal(/** @type {Record<string, unknown> | null} */ (null));
  /** Outputs that are streamed. */
  outputStreams = signal(/** @type {ReadonlyMap<string, Stream>} */ (new Map()));
  /** What the gateway says of the run beside its events; after the end with all outputs. */
  summary = signal(/** @type {RunStatus | null} */ (null));
  nodeCount = signal(0);
  /** The last event that has come. */
  lastSeq = signal(0);
  /** Why nothing can be shown. */
  problem = signal(/** @type {Error | null} */ (null));
  /** Has everything come that had happened when we subscribed? */
  isCaughtUp = signal(false);
  #id;
  /** @type {Set<Watcher>} */
  #canvases = new Set();
  /** @type {Set<string>} */
  #changed = new Set();
  /** Paths that the canvases have. @type {Set<string>} */
  #known = new Set();
  #socket;
  #goal = 0;
  #isScheduled = false;
  #unfollow = () => {};
  #unlisten = () => {};
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #again;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #summaryAgain;
  /** Of the newest question: an older answer that comes late counts for nothing. */
  #asked = 0;
  #isClosed = false;

  /**
   * @param {string} id
   * @param {import("../api/socket.js").GatewaySocket} socket
   */
  constructor(id, socket) {
    this.#id = id;
    this.#socket = socket;
    this.#unfollow = socket.follow(id, {
      lastSeq: () => this.view.lastSeq,
      restart: () => this.#restart(),
      receive: (events) => this.#receive(events),
      refuse: (code) => this.#refused(code),
      subscribed: (lastSeq) => this.#subscribed(lastSeq),
    });
    this.#unlisten = socket.listen(({ type, payload }) => {
      const run = /** @type {{ promptId?: string, deleted?: boolean } | undefined} */ (payload.run);
      if (type === "RUN_UPDATE" && run?.promptId === id && run.deleted) this.#deleted();
    });
    this.#loadSummary();
  }

  close() {
    this.#isClosed = true;
    clearTimeout(this.#again);
    clearTimeout(this.#summaryAgain);
    this.#unlisten();
    this.#unfollow();
  }

  /** What is shown stays: it is all that is left of the run. */
  #deleted() {
    this.problem.value = new GatewayError(404, { code: "run_not_found" });
  }

  /** @param {string} path @returns {NodeShown} */
  shown(path) {
    return { path, state: this.view.nodes.get(path) ?? {}, stream: this.view.streams.get(path) ?? null };
  }

  /**
   * Show the nodes there, now and as they change.
   * @param {Watcher} canvas
   * @returns {() => void} Ends it.
   */
  watch(canvas) {
    this.#canvases.add(canvas);
    canvas.show([...this.#known]);
    return () => this.#canvases.delete(canvas);
  }

  #restart() {
    this.view = new RunView();
    this.timeline = new Timeline();
    this.#known.clear();
    this.#changed.clear();
    // Texts that grow would else go on behind what is not true any more.
    batch(() => {
      this.outputStreams.value = new Map();
      this.outputs.value = null;
      this.errorInfo.value = null;
    });
    for (const canvas of this.#canvases) canvas.show([]);
  }

  /** @param {number} lastSeq */
  #subscribed(lastSeq) {
    this.#goal = lastSeq;
    this.isCaughtUp.value = this.view.lastSeq >= lastSeq;
    if (this.summary.peek() === null) this.#loadSummary();
  }

  /** @param {RunEvent[]} events */
  #receive(events) {
    const wasFinal = this.view.isFinal;
    for (const event of events) {
      const path = apply(this.view, event);
      if (path === null) continue;
      record(this.timeline, event);
      this.#changed.add(path);
    }
    if (this.#changed.size > 0) this.#schedule();
    if (this.view.isFinal && !wasFinal) this.#loadSummary();
  }

  /** Once per picture. A hidden tab draws none, and its title must change all the same. */
  #schedule() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    if (document.hidden) setTimeout(() => this.#flush(), HIDDEN_FLUSH_MS);
    else requestAnimationFrame(() => this.#flush());
  }

  #flush() {
    this.#isScheduled = false;
    batch(() => {
      for (const path of this.#changed) if (path !== "" && path !== INTERFACE_NODE) this.#touch(path);
      this.#changed.clear();
      this.status.value = this.#shownStatus();
      this.errorInfo.value = this.view.errorInfo;
      this.outputs.value = this.view.outputs;
      this.outputStreams.value = new Map(this.view.outputStreams);
      this.nodeCount.value = this.#known.size;
      this.lastSeq.value = this.view.lastSeq;
      if (this.view.lastSeq >= this.#goal) this.isCaughtUp.value = true;
    });
  }

  /** @param {string} path */
  #touch(path) {
    const isKnown = this.#known.has(path);
    this.#known.add(path);
    for (const canvas of this.#canvases) {
      if (isKnown) canvas.touch(path);
      else canvas.add(path);
    }
  }

  #shownStatus() {
    const { status, activity } = this.view;
    return status === "running" && activity.onlyWaits ? "waiting" : status;
  }

  /** Ask anew for what events do not tell: what the run took and cost. */
  async refresh() {
    await this.#loadSummary();
  }

  async #loadSummary() {
    clearTimeout(this.#summaryAgain);
    const asked = ++this.#asked;
    try {
      const found = await this.#fetch();
      if (asked === this.#asked) this.summary.value = found;
    } catch (error) {
      if (!isPassing(error) && !(error instanceof GatewayError)) throw error;
      // The socket says what is to be said: a run that is not there, a gateway that is away.
      if (this.#isClosed || asked !== this.#asked || !isPassing(error)) return;
      this.#summaryAgain = setTimeout(() => this.#loadSummary(), AGAIN_MS);
    }
  }

  /** @returns {Promise<RunStatus>} */
  #fetch() {
    return getJson(`api/prompt/${encodeURIComponent(this.#id)}`);
  }

  /** @param {string} code */
  async #refused(code) {
    if (code === "after_beyond_end") {
      // The log has lost its end, with the machine: what came of it is not true any more.
      this.#restart();
      this.#socket.subscribe(this.#id);
      return;
    }
    // Anything else passes, and says nothing of the run: its log goes on where we are.
    if (code === "run_not_found") await this.#loadStatus();
    // It may have been looked at before its first event.
    if (!this.#isClosed && this.problem.peek() === null && !(code === "run_not_found" && this.view.isFinal)) {
      this.#again = setTimeout(() => this.#socket.subscribe(this.#id), AGAIN_MS);
    }
  }

  /** There are no events: the log of an old run is gone, its result is not. */
  async #loadStatus() {
    const asked = ++this.#asked;
    try {
      const found = await this.#fetch();
      if (asked === this.#asked) this.#showStatus(found);
    } catch (error) {
      if (isPassing(error)) return;
      if (!(error instanceof GatewayError)) throw error;
      this.problem.value = error;
    }
  }

  /** @param {RunStatus} status */
  #showStatus(status) {
    for (const [path, node] of Object.entries(status.nodeStatus)) {
      this.view.nodes.set(path, node);
      this.#changed.add(path);
    }
    this.view.status = status.status;
    this.view.errorInfo = status.errorInfo ?? null;
    this.view.outputs = status.outputs;
    this.timeline = timelineOf(status);
    this.summary.value = status;
    this.isCaughtUp.value = true;
    this.#flush();
  }
}
