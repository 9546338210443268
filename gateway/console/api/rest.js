/** Requests to the gateway. What goes wrong is a `GatewayError` or a `GatewayAway`. */

import { refuseToken, token } from "./token.js";

/** @typedef {{ code: string, message: string, level?: "error" | "warning", node?: string, slot?: string }} Problem */
/** @typedef {{ error?: string, message?: string, code?: string, problems?: Problem[], details?: unknown }} ErrorBody */
/** A list is a name that stands several times. @typedef {Record<string, string | readonly string[]>} Query */
/**
 * `body` is sent as JSON, `data` as it is.
 * @typedef {{
 *   body?: unknown,
 *   data?: Blob,
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

/** Nobody answers: the request may or may not have arrived. */
export class GatewayAway extends Error {}

const RETRY_FOR_MS = 15_000;
const RETRY_EVERY_MS = 500;

/**
 * The address of a route, wherever the page was loaded from.
 * @param {string} path Without the first slash.
 * @param {Query} [query]
 */
export function urlOf(path, query = {}) {
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
async function send(method, path, { body, data, query, signal, headers = {} } = {}) {
  const url = urlOf(path, query);
  // An address may come from a value; the token goes nowhere else.
  if (url.origin !== new URL(document.baseURI).origin) throw new GatewayError(0, { code: "foreign_address" });
  const all = new Headers({ ...authorization(), ...headers });
  if (body !== undefined) all.set("Content-Type", "application/json");
  const sent = body === undefined ? data : JSON.stringify(body);
  let answer;
  try {
    const request = { method, headers: all, body: sent, signal: signal ?? null, cache: "no-store" };
    answer = await fetch(url, /** @type {RequestInit} */ (request));
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new GatewayAway(String(error), { cause: error });
  }
  if (answer.ok) return answer;
  throw errorOf(answer.status, await answer.text());
}

/**
 * What an answer says that is no success.
 * @param {number} status
 * @param {string} text Its body.
 */
export function errorOf(status, text) {
  if (status === 401) refuseToken();
  try {
    return new GatewayError(status, JSON.parse(text));
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
  return await (await send("GET", path, options)).json();
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
  return answer.status === 204 ? null : await answer.json();
}

/**
 * A value as text, whole.
 * @param {string} path
 * @returns {Promise<string>}
 */
export async function getText(path) {
  return await (await send("GET", path, { headers: { Accept: "text/plain" } })).text();
}

/**
 * A value as it is: pictures, and files to be saved.
 * @param {string} path
 * @returns {Promise<Blob>}
 */
export async function getBlob(path) {
  return await (await send("GET", path)).blob();
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
