/**
 * One WebSocket for the whole page. It comes back by itself; who follows a run loses nothing and gets nothing twice.
 *
 * A follower keeps the number of its last event and the id of the log. After a break the socket subscribes with both.
 * When the gateway has another log, the follower starts over.
 */

import { signal } from "../lib/view.js";

/** @typedef {{ seq: number | null, ts: number, type: string, payload: Record<string, unknown> }} Frame */
/** @typedef {Frame & { seq: number }} RunEvent */
/**
 * Who follows a run.
 * @typedef {{
 *   lastSeq: () => number,
 *   restart: () => void,
 *   receive: (events: RunEvent[]) => void,
 *   refuse: (code: string, message: string) => void,
 *   subscribed?: (lastSeq: number) => void,
 * }} Follower
 */
/** @typedef {"connecting" | "open" | "away" | "refused"} SocketState */
/**
 * @typedef {{
 *   address: () => URL,
 *   ticket: () => Promise<string | null>,
 *   tokenRefused?: () => void,
 *   random?: () => number,
 * }} SocketOptions
 */

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5000;
const CLOSED = { unauthorized: 4401, forbidden: 4403, tooFast: 4429, full: 1013 };

/**
 * How long to wait before the next attempt: twice as long each time, from 0.25 to 5 s. One that is asked to be slower
 * waits the longest. Some chance keeps the pages of a restarted gateway from coming all at once.
 * @param {number} attempt From 0.
 * @param {number} code Of the close.
 * @param {number} chance From 0 to 1.
 */
export function pauseMs(attempt, code, chance) {
  const isSlow = code === CLOSED.tooFast || code === CLOSED.full;
  const pause = isSlow ? LONGEST_PAUSE_MS : Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempt);
  return Math.max(FIRST_PAUSE_MS, pause * (0.75 + chance / 4));
}

export class GatewaySocket {
  /** @type {import("../lib/view.js").Signal<SocketState>} */
  state = signal(/** @type {SocketState} */ ("connecting"));
  /** Since when nobody answers, in milliseconds since 1970. */
  lostAt = signal(Date.now());
  /** How far the gateway's clock is before ours, in milliseconds: events have its time. */
  ahead = 0;
  #options;
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {Map<string, { follower: Follower, logId: string | null }>} */
  #followed = new Map();
  /** @type {Set<(frame: Frame) => void>} */
  #listeners = new Set();
  #watchesRuns = false;
  #asksForRuns = false;
  #attempt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #isClosed = false;

  /** @param {SocketOptions} options */
  constructor(options) {
    this.#options = options;
  }

  /** Connect, also when a pause is not over yet. */
  async connect() {
    clearTimeout(this.#timer);
    this.#drop();
    this.#isClosed = false;
    if (this.state.peek() === "refused") this.state.value = "connecting";
    const address = this.#options.address();
    try {
      const ticket = await this.#options.ticket();
      if (ticket !== null) address.searchParams.set("ticket", ticket);
    } catch {
      this.#lost(1006);
      return;
    }
    if (this.#isClosed || this.#socket !== null) return; // somebody else was faster
    const socket = new WebSocket(address);
    this.#socket = socket;
    socket.onopen = () => this.#opened();
    socket.onmessage = (message) => this.#receive(String(message.data));
    socket.onclose = (event) => {
      if (this.#socket === socket) this.#lost(event.code);
    };
  }

  close() {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#drop();
  }

  /** The network is gone: the browser would find out only after minutes. */
  offline() {
    this.#drop();
    this.#lost(1006);
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /**
   * @param {string} run
   * @param {Follower} follower
   * @returns {() => void} Ends it.
   */
  follow(run, follower) {
    this.#followed.set(run, { follower, logId: null });
    this.subscribe(run);
    return () => {
      if (this.#followed.get(run)?.follower !== follower) return;
      this.#followed.delete(run);
      this.#send("UNSUBSCRIBE", { promptId: run });
    };
  }

  /**
   * Hear what the gateway tells every page, such as SYSTEM_QUEUE_UPDATE.
   * @param {(frame: Frame) => void} listener
   * @returns {() => void} Ends it.
   */
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** From now on listeners hear of each run that changes (RUN_UPDATE), and how many approvals are open. */
  watchRuns() {
    this.#watchesRuns = true;
    if (this.#asksForRuns) return;
    this.#asksForRuns = true;
    // Several lists that a page makes at once are one question.
    queueMicrotask(() => {
      this.#asksForRuns = false;
      this.#send("SUBSCRIBE", { runs: true });
    });
  }

  #opened() {
    this.state.value = "open";
    if (this.#watchesRuns) this.watchRuns();
    for (const run of this.#followed.keys()) this.subscribe(run);
  }

  /**
   * Ask for what comes behind a follower's last event; also again, after a refusal.
   * @param {string} run
   */
  subscribe(run) {
    const followed = this.#followed.get(run);
    if (followed === undefined) return;
    const place = { after: followed.follower.lastSeq(), ...(followed.logId === null ? {} : { logId: followed.logId }) };
    this.#send("SUBSCRIBE", { promptId: run, batch: true, ...place });
  }

  /**
   * @param {string} type
   * @param {Record<string, unknown>} payload
   */
  #send(type, payload) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ type, payload }));
  }

  /** @param {string} text */
  #receive(text) {
    this.#attempt = 0;
    /** @type {Frame | Frame[]} */
    const data = JSON.parse(text);
    /** @type {Map<string, RunEvent[]>} */
    const events = new Map();
    for (const frame of Array.isArray(data) ? data : [data]) {
      const run = String(frame.payload?.promptId ?? "");
      if (frame.seq === null) this.#receiveNotice(run, frame);
      else events.set(run, [...(events.get(run) ?? []), /** @type {RunEvent} */ (frame)]);
    }
    for (const [run, list] of events) this.#followed.get(run)?.follower.receive(list);
  }

  /**
   * @param {string} run
   * @param {Frame} frame
   */
  #receiveNotice(run, frame) {
    if (frame.ts > 0) this.ahead = frame.ts - Date.now();
    const followed = this.#followed.get(run);
    if (frame.type === "SUBSCRIBED" && followed !== undefined) this.#subscribed(followed, frame.payload);
    else if (frame.type === "error" && followed !== undefined) {
      followed.follower.refuse(String(frame.payload.code), String(frame.payload.message));
    } else for (const listener of this.#listeners) listener(frame);
  }

  /**
   * @param {{ follower: Follower, logId: string | null }} followed
   * @param {Record<string, unknown>} payload
   */
  #subscribed(followed, payload) {
    const logId = String(payload.logId);
    if (followed.logId !== null && followed.logId !== logId) followed.follower.restart();
    followed.logId = logId;
    followed.follower.subscribed?.(Number(payload.lastSeq));
  }

  /** @param {number} code */
  #lost(code) {
    this.#socket = null;
    clearTimeout(this.#timer);
    if (code === CLOSED.unauthorized) this.#options.tokenRefused?.();
    if (code === CLOSED.unauthorized || code === CLOSED.forbidden) {
      this.state.value = "refused";
      return;
    }
    if (this.state.peek() !== "away") this.lostAt.value = Date.now();
    this.state.value = "away";
    const chance = (this.#options.random ?? Math.random)();
    this.#timer = setTimeout(() => this.connect(), pauseMs(this.#attempt++, code, chance));
  }
}
