/** Requests to the gateway. What goes wrong is a `GatewayError` or a `GatewayAway`. */

import { parseJson } from "../lib/json.js";
import { refuseToken, token } from "./token.js";

/** @typedef {{ code: string, message: string, level?: "error" | "warning", node?: string, slot?: string }} Problem */
/** @typedef {{ error?: string, message?: string, code?: string, problems?: Problem[], details?: unknown }} ErrorBody */
/** A list is a name that stands several times. @typedef {Record<string, string | readonly string[]>} Query */
/**
 * `body` is sent as JSON.
 * @typedef {{
 *   body?: unknown,
 *   query?: Query,
 *   signal?: AbortSignal,
 *   headers?: Record<string, string>,
 * }} Options
 */

/** The gateway refused. Programs look at `code`; people read `message`. */
export class GatewayError extends Error {
  /** @param {number} status @param {ErrorBody} body */
  constructor(status, body) {
    super(body.error ?? body.message ?? `HTTP ${status}`);
    this.status = status;
    this.code = body.code ?? "http_error";
    this.problems = body.problems ?? [];
    this.details = body.details ?? null;
    this.body = body;
  }
}

/** Nobody answers, or somebody else does: the request may or may not have arrived. */
export class GatewayAway extends Error {}

const RETRY_FOR_MS = 15_000;
const RETRY_EVERY_MS = 500;
/** What is read is there by then; a connection that leads nowhere would be waited for for minutes. */
const READ_MS = 60_000;

/** A part of an address that means another part, however it is written. */
const DOTS = /^(?:\.|%2e){1,2}$/i;

/**
 * The address of a route, wherever the page was loaded from. Throws GatewayError: an id in it is `.` or `..`, which
 * would make it that of another route.
 * @param {string} path Without the first slash.
 * @param {Query} [query]
 */
export function urlOf(path, query = {}) {
  if (path.split(/[?#]/, 1)[0]?.split(/[/\\]/).some((part) => DOTS.test(part))) {
    throw new GatewayError(404, { code: "not_found", error: `there is nothing at ${path}` });
  }
  const url = new URL(path, document.baseURI);
  url.hash = "";
  for (const [name, value] of Object.entries(query)) {
    for (const one of typeof value === "string" ? [value] : value) url.searchParams.append(name, one);
  }
  return url;
}

/** The header that shows our token; none without one. @returns {Record<string, string>} */
export function authorization() {
  const shown = token();
  return shown === null ? {} : { Authorization: `Bearer ${shown}` };
}

/**
 * @param {string} method
 * @param {string} path
 * @param {Options} [options]
 * @returns {Promise<Response>} Of a request that succeeded.
 */
async function send(method, path, { body, query, signal, headers = {} } = {}) {
  const url = urlOf(path, query);
  // An address may come from a value; the token goes nowhere else.
  if (url.origin !== new URL(document.baseURI).origin) throw new GatewayError(0, { code: "foreign_address" });
  const all = new Headers({ ...authorization(), ...headers });
  if (body !== undefined) all.set("Content-Type", "application/json");
  const sent = body === undefined ? null : JSON.stringify(body);
  let answer;
  try {
    const request = { method, headers: all, body: sent, signal: signal ?? null, cache: "no-store" };
    answer = await fetch(url, /** @type {RequestInit} */ (request));
  } catch (error) {
    throw awayBecause(error);
  }
  if (answer.ok) return answer;
  throw errorOf(answer.status, await bodyOf(answer.text()));
}

/**
 * What broke off, as an error of ours. What somebody gave up stays that.
 * @param {unknown} error
 */
export function awayBecause(error) {
  const isGivenUp = error instanceof DOMException && error.name === "AbortError";
  return isGivenUp ? error : new GatewayAway(String(error), { cause: error });
}

/**
 * A body that comes. The gateway may die in the middle of it.
 * @template T
 * @param {Promise<T>} body
 */
async function bodyOf(body) {
  try {
    return await body;
  } catch (error) {
    throw awayBecause(error);
  }
}

/**
 * Whether it may work in a moment, without anybody doing something: nobody was there, or it is busy.
 * @param {unknown} error
 */
export function isPassing(error) {
  return error instanceof GatewayAway ||
    (error instanceof GatewayError && (error.status >= 500 || error.status === 429));
}

/**
 * What an answer says that is no success.
 * @param {number} status
 * @param {string} text Its body.
 */
export function errorOf(status, text) {
  if (status === 401) refuseToken();
  try {
    return new GatewayError(status, parseJson(text));
  } catch {
    // Not one of our answers: a proxy says that nobody stands behind it.
    return status >= 502 ? new GatewayAway(`HTTP ${status}`) : new GatewayError(status, {});
  }
}

/**
 * @template T
 * @param {string} path
 * @param {Options} [options]
 * @returns {Promise<T>}
 */
export async function getJson(path, options) {
  const signals = [AbortSignal.timeout(READ_MS), ...(options?.signal ? [options.signal] : [])];
  return await jsonOf(await send("GET", path, { ...options, signal: AbortSignal.any(signals) }));
}

/** @param {Response} answer */
async function jsonOf(answer) {
  const text = await bodyOf(answer.text());
  try {
    return parseJson(text);
  } catch (error) {
    // A success that is none of ours: the page of a proxy that wants a login.
    throw awayBecause(error);
  }
}

/**
 * @template T
 * @param {string} method
 * @param {string} path
 * @param {Options} [options]
 * @returns {Promise<T | null>} Null of an answer without a body.
 */
export async function change(method, path, options) {
  const answer = await send(method, path, options);
  return answer.status === 204 ? null : await jsonOf(answer);
}

/**
 * A value as text, whole.
 * @param {string} path
 * @returns {Promise<string>}
 */
export async function getText(path) {
  return await bodyOf((await send("GET", path, { headers: { Accept: "text/plain" } })).text());
}

/**
 * A value as it is: pictures, and files to be saved.
 * @param {string} path
 * @param {Options} [options]
 * @returns {Promise<Blob>}
 */
export async function getBlob(path, options) {
  return await bodyOf((await send("GET", path, options)).blob());
}

/**
 * An answer that comes piece by piece.
 * @param {string} path
 * @param {Options} options `signal` ends it.
 * @returns {Promise<ReadableStream<Uint8Array> | null>} Null of an answer without a body.
 */
export async function getStream(path, options) {
  return (await send("GET", path, options)).body;
}

/**
 * A header of what would be answered, without the rest; empty when there is none.
 * @param {string} path
 * @param {string} name
 */
export async function getHeader(path, name) {
  return (await send("HEAD", path)).headers.get(name) ?? "";
}

/**
 * Start a run.
 * @param {unknown} document
 * @returns {Promise<string>} The id of the run.
 */
export async function submit(document) {
  /** @type {{ promptId: string } | null} */
  const accepted = await postOnce("api/prompt", document);
  return accepted?.promptId ?? "";
}

/**
 * Post something that must count once. While nobody answers it is sent again, with one key: whatever arrived counts.
 * @template T
 * @param {string} path
 * @param {unknown} body
 * @param {string} [key]
 * @returns {Promise<T | null>}
 */
export async function postOnce(path, body, key = randomKey()) {
  const until = Date.now() + RETRY_FOR_MS;
  for (;;) {
    try {
      return await change("POST", path, { body, headers: { "Idempotency-Key": key } });
    } catch (error) {
      if (!(error instanceof GatewayAway) || Date.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_EVERY_MS));
    }
  }
}

/** `crypto.randomUUID` exists only where the page came by HTTPS or from this machine. */
export function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * A ticket for one connection of the socket, which cannot show a header.
 * @returns {Promise<string | null>} Null when no token is needed.
 */
export async function socketTicket() {
  if (token() === null) return null;
  /** @type {{ ticket: string } | null} */
  const answer = await change("POST", "api/ws-ticket");
  return answer?.ticket ?? null;
}
