/**
 * One WebSocket for the whole page. It comes back by itself; who follows a run loses nothing and gets nothing twice.
 *
 * A follower keeps the number of its last event and the id of the log. After a break the socket subscribes with both.
 * When the gateway has another log, the follower starts over.
 */

import { setClock } from "../lib/clock.js";
import { parseJson } from "../lib/json.js";
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
 *   pingMs?: number,
 *   silenceMs?: number,
 * }} SocketOptions
 */

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5000;
/** So often the gateway is asked whether it is there. */
const PING_MS = 5000;
/** Who does not answer for so long is away: a browser itself finds a connection that leads nowhere after minutes. */
const SILENCE_MS = 15_000;
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
  /** When the gateway was heard last before it was lost, in milliseconds since 1970 by our own clock. */
  lostAt = signal(Date.now());
  #options;
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {Map<string, { follower: Follower, logId: string | null }>} */
  #followed = new Map();
  /** @type {Set<(frame: Frame) => void>} */
  #listeners = new Set();
  #watchesRuns = false;
  /** On this connection. */
  #hasAskedForRuns = false;
  #attempt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #pulse;
  #heardAt = Date.now();
  /** Since when an answer is awaited, by a clock that nobody sets; null when none is. @type {number | null} */
  #askedAt = null;
  /** Of the newest attempt: what an older one still does counts for nothing. */
  #connection = 0;

  /** @param {SocketOptions} options */
  constructor(options) {
    this.#options = options;
  }

  /** Connect, also when a pause is not over yet. */
  async connect() {
    clearTimeout(this.#timer);
    this.#drop();
    if (this.state.peek() === "refused") this.state.value = "connecting";
    this.#pulse ??= setInterval(() => this.#beat(), this.#options.pingMs ?? PING_MS);
    this.#askedAt = performance.now();
    const connection = this.#connection;
    const address = this.#options.address();
    let ticket = null;
    try {
      ticket = await this.#options.ticket();
      if (ticket !== null) address.searchParams.set("ticket", ticket);
    } catch {
      if (connection === this.#connection) this.#lost(1006);
      return;
    }
    if (connection !== this.#connection) return; // closed meanwhile, or somebody else connects
    const socket = new WebSocket(address);
    this.#socket = socket;
    socket.onopen = () => this.#opened();
    socket.onmessage = (message) => this.#receive(String(message.data));
    socket.onclose = (event) => {
      // A ticket is too old after half a minute, and unknown after a restart of the gateway: whether the token is right,
      // the next ticket says.
      const isStale = ticket !== null && event.code === CLOSED.unauthorized;
      if (this.#socket === socket) this.#lost(isStale ? 1006 : event.code);
    };
  }

  close() {
    clearTimeout(this.#timer);
    this.#stopPulse();
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
    this.#connection++;
    this.#askedAt = null;
    if (socket === null) return;
    socket.onopen = socket.onmessage = null; // closing takes as long as the network likes
    socket.close();
  }

  /**
   * Ask whether the gateway is there. A connection that leads nowhere is given up, also one that is still being made;
   * a page that was asleep learns so that its picture is old.
   */
  #beat() {
    if (this.#askedAt === null) {
      if (this.state.peek() !== "open") return;
      this.#askedAt = performance.now();
      this.#send("PING", {});
    } else if (performance.now() - this.#askedAt >= (this.#options.silenceMs ?? SILENCE_MS)) this.offline();
  }

  #stopPulse() {
    clearInterval(this.#pulse);
    this.#pulse = undefined;
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
    if (this.#hasAskedForRuns || this.state.peek() !== "open") return;
    this.#hasAskedForRuns = true;
    this.#send("SUBSCRIBE", { runs: true });
  }

  #opened() {
    this.#heard();
    this.#hasAskedForRuns = false; // before: whoever sees the new state may ask
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

  #heard() {
    this.#heardAt = Date.now();
    this.#askedAt = null;
  }

  /** @param {string} text */
  #receive(text) {
    this.#heard();
    this.#attempt = 0;
    /** @type {Frame | Frame[]} */
    const data = parseJson(text);
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
    if (frame.ts > 0) setClock(frame.ts);
    if (frame.type === "error" && frame.payload.runs === true) this.#hasAskedForRuns = false;
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
    this.#askedAt = null;
    clearTimeout(this.#timer);
    if (code === CLOSED.unauthorized) this.#options.tokenRefused?.();
    if (code === CLOSED.unauthorized || code === CLOSED.forbidden) {
      this.#stopPulse();
      this.state.value = "refused";
      return;
    }
    if (this.state.peek() !== "away") this.lostAt.value = this.#heardAt;
    this.state.value = "away";
    const chance = (this.#options.random ?? Math.random)();
    this.#timer = setTimeout(() => this.connect(), pauseMs(this.#attempt++, code, chance));
  }
}
