/** Values as people read them, in the language of the page. */

import { now } from "./clock.js";
import { language, t } from "./words.js";

/** @typedef {import("./view.js").Shown} Shown */

/** @param {string} text */
function shown(text) {
  return /** @type {Shown} */ (text);
}

/** @param {number} value */
export function number(value) {
  return shown(new Intl.NumberFormat(language.peek()).format(value));
}

/**
 * An amount of money; small ones with the digits that tell them from nothing.
 * @param {number} value
 * @param {string} [currency] Three capital letters.
 */
export function money(value, currency = "") {
  const isSmall = value !== 0 && Math.abs(value) < 0.1;
  const digits = isSmall ? { maximumSignificantDigits: 3 } : { minimumFractionDigits: 2, maximumFractionDigits: 2 };
  return shown(`${new Intl.NumberFormat(language.peek(), digits).format(value)} ${name(currency)}`.trimEnd());
}

/**
 * How long something took: `<1 ms`, `8 ms`, `0.4 s`, `12 s`, `3 min 5 s`, `2 h 4 min`, `20 d 3 h`.
 * @param {number} milliseconds
 */
export function duration(milliseconds) {
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 0.1) return t("milliseconds", { ms: Math.round(seconds * 1000) || "<1" });
  if (seconds < 10) return t("seconds", { s: seconds.toFixed(1) });
  const whole = Math.round(seconds);
  if (whole < 60) return t("seconds", { s: whole });
  if (whole < 3600) return parts("minutes", "wholeMinutes", { m: Math.floor(whole / 60), s: whole % 60 });
  const minutes = Math.floor(whole % 3600 / 60);
  if (whole < 48 * 3600) return parts("hours", "wholeHours", { h: Math.floor(whole / 3600), m: minutes });
  return t("days", { d: Math.floor(whole / 86_400), h: Math.floor(whole % 86_400 / 3600) });
}

/**
 * Two units, or the greater one when there is nothing of the less.
 * @param {import("./words.js").Word} both
 * @param {import("./words.js").Word} whole
 * @param {Record<string, number>} values The less one last.
 */
function parts(both, whole, values) {
  return t(Object.values(values).at(-1) === 0 ? whole : both, values);
}

/**
 * The language of the page, as whoever reads writes times in it: an English page has the clock of 24 hours
 * in London, and that of 12 in New York.
 * @returns {string} BCP 47.
 */
function locale() {
  const main = language.peek().split("-")[0] ?? "";
  const wanted = globalThis.navigator?.languages ?? [];
  return wanted.find((one) => one.split("-")[0] === main) ?? language.peek();
}

/**
 * A moment: its time today, its date and time before.
 * @param {string | number} moment ISO 8601, or milliseconds since 1970.
 * @param {Date} [today]
 */
export function moment(moment, today = new Date(now())) {
  const then = new Date(moment);
  if (Number.isNaN(then.getTime())) return shown(String(moment));
  /** @type {Intl.DateTimeFormatOptions} */
  const form = isSameDay(then, today) ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" };
  return shown(new Intl.DateTimeFormat(locale(), form).format(then));
}

/**
 * The time of an event, to the millisecond: many come in one second.
 * @param {number} moment Milliseconds since 1970.
 */
export function exactTime(moment) {
  /** @type {Intl.DateTimeFormatOptions} */
  const form = { hour: "numeric", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 };
  return shown(new Intl.DateTimeFormat(locale(), form).format(moment));
}

/**
 * Is this the same day, by the clock of whoever reads?
 * @param {Date} one
 * @param {Date} other
 */
export function isSameDay(one, other) {
  return one.toDateString() === other.toDateString();
}

/** @param {number} value */
export function bytes(value) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  const step = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, value)) / 3));
  // "8 bytes", and not "8 byte", which is the short form.
  const unitDisplay = step === 0 ? "long" : "short";
  const options = { style: "unit", unit: units[step], unitDisplay, maximumFractionDigits: step > 0 ? 1 : 0 };
  const format = new Intl.NumberFormat(language.peek(), /** @type {Intl.NumberFormatOptions} */ (options));
  return shown(format.format(value / 1000 ** step));
}

/** A longer name is cut: one of a megabyte holds up every list that it stands in. */
export const NAME_CHARACTERS = 1000;
// deno-lint-ignore no-control-regex
const CONTROLS = /[\u0000-\u001f\u007f]/g;
/** What turns the direction of writing, breaks a line, or is not seen. Joiners stay: scripts and emoji need them. */
const UNSEEN = /[\u0080-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
/** No script piles up so many marks on one letter; they would cover the lines above. */
const PILE = /(\p{M}{6})\p{M}+/gu;

/**
 * Somebody's name for something, on one line: characters that control a terminal, turn the direction of writing or are
 * not seen are shown as signs, so that a name cannot pretend to be another one.
 * @param {string} text
 */
export function name(text) {
  const sign = (/** @type {string} */ found) =>
    String.fromCharCode(found === "\u007f" ? 0x2421 : 0x2400 + found.charCodeAt(0));
  const cut = text.length > NAME_CHARACTERS ? `${text.slice(0, NAME_CHARACTERS)}\u2026` : text;
  return shown(cut.replace(CONTROLS, sign).replace(UNSEEN, "\u25c7").replace(PILE, "$1\u25c7"));
}

/**
 * A JSON value as text: a text as it is, anything else as indented JSON.
 * @param {unknown} value
 */
export function json(value) {
  return shown(typeof value === "string" ? value : JSON.stringify(value, null, 2) ?? "");
}
