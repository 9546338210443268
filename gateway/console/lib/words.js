/** The words of the page, in the language of whoever reads it. */

import { signal } from "./view.js";
import { words as english } from "../words/en.js";

/** @typedef {import("./view.js").Shown} Shown */
/** @typedef {keyof typeof english} Word */
/** A text, or its forms by the number `n` that it tells of. @typedef {string | { one?: string, other: string }} Form */
/** @typedef {Readonly<Record<Word, Form>>} Words */

const CHOSEN = "innkeeper.language";

/** Language tag to its own name. */
export const LANGUAGES = { en: "English", "zh-CN": "简体中文" };
/** @typedef {keyof typeof LANGUAGES} Language */

/** @type {Words} */
let words = english;
export const language = signal(/** @type {Language} */ ("en"));

/**
 * The best of our languages for what a reader prefers.
 * @param {readonly string[]} preferred Language tags, best first.
 * @returns {Language}
 */
export function bestLanguage(preferred) {
  for (const tag of preferred) {
    if (tag === "en" || tag.startsWith("en-")) return "en";
    if (tag === "zh" || tag.startsWith("zh-")) return "zh-CN";
  }
  return "en";
}

/** Use the language that was chosen here, or the browser's. */
export async function startWords() {
  const chosen = localStorage.getItem(CHOSEN);
  await useLanguage(chosen !== null && chosen in LANGUAGES ? /** @type {Language} */ (chosen) : preferred());
}

function preferred() {
  return bestLanguage(navigator.languages);
}

/** @param {Language} tag */
export async function chooseLanguage(tag) {
  localStorage.setItem(CHOSEN, tag);
  await useLanguage(tag);
}

/** @param {Language} tag */
async function useLanguage(tag) {
  words = tag === "en" ? english : (await import("../words/zh-CN.js")).words;
  document.documentElement.lang = tag;
  language.value = tag;
}

/**
 * Words of the page, with `{name}` replaced by values.
 * @param {Word} word
 * @param {Record<string, string | number>} [values] `n` chooses the form.
 * @returns {Shown}
 */
export function t(word, values = {}) {
  return /** @type {Shown} */ (filled(words[word], values, language.peek()));
}

/**
 * @param {Form} form
 * @param {Record<string, string | number>} values
 * @param {string} tag
 */
export function filled(form, values, tag) {
  const text = typeof form === "string" ? form : formFor(form, Number(values.n), tag);
  return text.replace(/\{(\w+)\}/g, (whole, name) => Object.hasOwn(values, name) ? String(values[name]) : whole);
}

/**
 * @param {{ one?: string, other: string }} form
 * @param {number} n
 * @param {string} tag
 */
function formFor(form, n, tag) {
  return new Intl.PluralRules(tag).select(n) === "one" ? form.one ?? form.other : form.other;
}
