/** What a slot takes, and what a text typed for it means. Pure. */

import { json } from "../lib/format.js";
import { isExact, LongNumber, parseJson } from "../lib/json.js";
import { t } from "../lib/words.js";

/** @typedef {import("../lib/view.js").Shown} Shown */
/**
 * An input of a workflow, or a field of an approval.
 * @typedef {{
 *   key?: string,
 *   dataFlowType: string,
 *   displayName?: string | null,
 *   description?: string | null,
 *   customDescription?: string | null,
 *   required?: boolean,
 *   multi?: boolean,
 *   secret?: boolean,
 *   matchCategories?: readonly string[],
 *   config?: Readonly<Record<string, unknown>>,
 *   min?: number | null,
 *   max?: number | null,
 * }} Slot
 */
/**
 * How a slot is typed. `line` and `text` are texts, of one line and of several; `file` is the path of a file, `data`
 * the file itself as a data URI; `any` is JSON where it is JSON, else text.
 * @typedef {"secret" | "choice" | "messages" | "file" | "data" | "boolean" | "integer" | "number" | "object" | "list"
 *   | "text" | "line" | "any"} Kind
 */
/**
 * What stands in a field.
 * @typedef {{ state: "empty" } | { state: "value", value: unknown } | { state: "wrong", complaint: Shown }} Reading
 */
/** @typedef {{ role: string, content: string }} Message */

const FILE_CATEGORIES = ["FilePath", "ResourceId"];
const DATA_CATEGORIES = ["ImageData", "AudioData", "VideoData"];
const LONG_CATEGORIES = ["Code", "Markdown", "UiBlock", "Prompt"];
/** @type {ReadonlyMap<string, Kind>} */
const KINDS = new Map([
  ["BOOLEAN", "boolean"],
  ["INTEGER", "integer"],
  ["FLOAT", "number"],
  ["OBJECT", "object"],
  ["ARRAY", "list"],
  ["BINARY", "data"],
]);
/** Kinds in which an empty field is a value of its own: the empty text. */
const TEXTS = new Set(["line", "text", "file", "data"]);

/** @type {Reading} */
const EMPTY = { state: "empty" };

/**
 * @param {Slot} slot
 * @returns {Kind}
 */
export function kindOf(slot) {
  const has = (/** @type {readonly string[]} */ wanted) => wanted.some((one) => slot.matchCategories?.includes(one));
  if (slot.secret || slot.config?.secret === true) return "secret";
  if (slot.multi) return "list";
  if (has(["ComboOption"]) && suggestionsOf(slot).length > 0) return "choice";
  const isText = slot.dataFlowType === "STRING";
  if (has(["ChatHistory"]) && (isText || slot.dataFlowType === "ARRAY")) return "messages";
  if (!isText) return KINDS.get(slot.dataFlowType) ?? "any";
  if (has(FILE_CATEGORIES)) return "file";
  if (has(DATA_CATEGORIES)) return "data";
  const isLong = slot.config?.multiline === true || has(LONG_CATEGORIES) ||
    String(defaultOf(slot) ?? "").includes("\n");
  return isLong ? "text" : "line";
}

/**
 * What counts when nobody gives a value; undefined when the slot has no default.
 * @param {Slot} slot
 */
export function defaultOf(slot) {
  return slot.config?.default ?? undefined;
}

/**
 * @param {Slot} slot
 * @returns {{ value: unknown, label: string }[]} An entry of `suggestions` is `{value, label}` or the bare value.
 */
export function suggestionsOf(slot) {
  const given = slot.config?.suggestions;
  return (Array.isArray(given) ? given : []).map((entry) => {
    const isObject = typeof entry === "object" && entry !== null;
    const value = isObject ? entry.value : entry;
    return { value, label: String((isObject ? entry.label : null) ?? value) };
  });
}

/**
 * The text that stands for a value in a field.
 * @param {Kind} kind
 * @param {unknown} value
 */
export function textOf(kind, value) {
  if (value === undefined || value === null) return "";
  const isReadAsItself = typeof value === "string" && (kind !== "any" || parsed(value) === undefined);
  return isReadAsItself ? value : kind === "any" ? JSON.stringify(value, null, 2) : json(value);
}

/**
 * @param {string} text
 * @returns {{ value: unknown } | undefined} Undefined: it is no JSON.
 */
function parsed(text) {
  try {
    return { value: parseJson(text) };
  } catch {
    return undefined;
  }
}

/**
 * @param {Kind} kind
 * @param {Slot} slot
 * @param {string} text
 * @returns {Reading}
 */
export function readText(kind, slot, text) {
  if (TEXTS.has(kind) || kind === "secret") return text === "" ? EMPTY : { state: "value", value: text };
  if (text.trim() === "") return EMPTY;
  if (kind === "integer" || kind === "number") return readNumber(kind, slot, text.trim());
  if (kind === "any") return { state: "value", value: (parsed(text) ?? { value: text }).value };
  return readJson(kind, text);
}

/**
 * @param {Kind} kind
 * @param {Slot} slot
 * @param {string} text
 * @returns {Reading}
 */
function readNumber(kind, slot, text) {
  const value = Number(text);
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) || !Number.isFinite(value)) {
    return wrong(t(kind === "integer" ? "notWhole" : "notNumber"));
  }
  if (kind === "integer" && !Number.isInteger(value)) return wrong(t("notWhole"));
  const isLong = kind === "integer" && !Number.isSafeInteger(value);
  const long = isLong ? longNumber(text) : null;
  if (isLong && long === null) return wrong(t("tooLong"));
  const { low, high } = boundsOf(slot);
  if (low !== null && value < low) return wrong(t("tooSmall", { low }));
  if (high !== null && value > high) return wrong(t("tooBig", { high }));
  return { state: "value", value: long ?? value };
}

/**
 * A whole number beyond 2^53; null when the browser would round it, or the gateway.
 * @param {string} text
 */
function longNumber(text) {
  if (!isExact || !/^[+-]?\d+$/.test(text)) return null;
  const number = BigInt(text.replace("+", ""));
  return number < -(2n ** 63n) || number >= 2n ** 64n ? null : new LongNumber(String(number));
}

/**
 * The bounds of a number; null where there is none.
 * @param {Slot} slot
 */
export function boundsOf(slot) {
  const bound = (/** @type {unknown} */ own, /** @type {unknown} */ other) =>
    typeof own === "number" ? own : typeof other === "number" ? other : null;
  return { low: bound(slot.config?.min, slot.min), high: bound(slot.config?.max, slot.max) };
}

/**
 * @param {Kind} kind
 * @param {string} text
 * @returns {Reading}
 */
function readJson(kind, text) {
  let value;
  try {
    value = parseJson(text);
  } catch (error) {
    return wrong(t("notJson", { message: error instanceof Error ? error.message : String(error) }));
  }
  if (kind === "list" && !Array.isArray(value)) return wrong(t("notList"));
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value) &&
    !(value instanceof LongNumber);
  if (kind === "object" && !isObject) return wrong(t("notObject"));
  return { state: "value", value };
}

/** @param {Shown} complaint @returns {Reading} */
function wrong(complaint) {
  return { state: "wrong", complaint };
}

/**
 * The messages of a chat that a value holds; null when it holds more than roles and texts, and is better shown as JSON.
 * @param {unknown} value A list, or the same as JSON text. Nothing counts as no messages.
 * @returns {Message[] | null}
 */
export function messagesIn(value) {
  if (value === undefined || value === null || value === "") return [];
  const list = typeof value === "string" ? parsed(value)?.value : value;
  const isPlain = (/** @type {any} */ one) =>
    typeof one === "object" && one !== null && typeof one.role === "string" && typeof one.content === "string" &&
    Object.keys(one).length === 2;
  return Array.isArray(list) && list.every(isPlain) ? list : null;
}

/**
 * @param {Slot} slot
 * @param {readonly Message[]} messages
 * @returns {Reading}
 */
export function readMessages(slot, messages) {
  if (messages.length === 0) return EMPTY;
  const list = messages.map(({ role, content }) => ({ role, content }));
  return { state: "value", value: slot.dataFlowType === "STRING" ? JSON.stringify(list) : list };
}

/**
 * What a field gives on. Nothing, when it is what counts in any case.
 * @param {Slot} slot
 * @param {Reading} reading
 * @param {{ base: unknown, isComplete: boolean }} given `base` counts when the field gives nothing; `isComplete`: a
 *   required field needs a value.
 * @returns {Reading}
 */
export function settled(slot, reading, { base, isComplete }) {
  const kind = kindOf(slot);
  if (reading.state === "value") return isSame(kind, reading.value, base) ? EMPTY : reading;
  const hasBase = base !== undefined && base !== null;
  if (reading.state === "wrong") return reading;
  if (hasBase && TEXTS.has(kind) && base !== "") return { state: "value", value: "" };
  if (hasBase && kind === "messages") return { state: "value", value: slot.dataFlowType === "STRING" ? "[]" : [] };
  return isComplete && slot.required && !hasBase ? wrong(t("needsValue")) : EMPTY;
}

/**
 * @param {Kind} kind
 * @param {unknown} one
 * @param {unknown} other
 */
function isSame(kind, one, other) {
  const plain = (/** @type {unknown} */ value) => JSON.stringify(kind === "messages" ? messagesIn(value) : value);
  return plain(one) === plain(other);
}
