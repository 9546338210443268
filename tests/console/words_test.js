// Every word in every language, with the same values; and no word anywhere else.
import { strict as assert } from "node:assert";
import { bestLanguage, filled } from "../../gateway/console/lib/words.js";
import { words as english } from "../../gateway/console/words/en.js";
import { words as chinese } from "../../gateway/console/words/zh-CN.js";

const CONSOLE = new URL("../../gateway/console/", import.meta.url);

/** @param {string | { one?: string, other: string }} form */
function valuesOf(form) {
  const text = typeof form === "string" ? form : form.other;
  return [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();
}

/** @param {URL} folder @returns {Generator<URL>} */
function* scripts(folder) {
  for (const entry of Deno.readDirSync(folder)) {
    const place = new URL(entry.name + (entry.isDirectory ? "/" : ""), folder);
    if (entry.isDirectory) yield* scripts(place);
    else if (entry.name.endsWith(".js")) yield place;
  }
}

const SOURCES = [...scripts(CONSOLE)].map((place) => ({
  name: place.pathname.slice(CONSOLE.pathname.length),
  text: Deno.readTextFileSync(place),
}));

Deno.test("both languages have the same words with the same values", () => {
  assert.deepEqual(Object.keys(chinese), Object.keys(english));
  for (const [word, form] of Object.entries(english)) {
    const other = chinese[/** @type {keyof typeof english} */ (word)];
    assert.deepEqual(valuesOf(other), valuesOf(form), word);
    assert.notEqual(other, "", word);
  }
});

Deno.test("every word is used", () => {
  const all = SOURCES.filter((source) => !source.name.startsWith("words/")).map((source) => source.text).join("\n");
  const unused = Object.keys(english).filter((word) => !all.includes(`"${word}"`));
  assert.deepEqual(unused, []);
});

// `tests/console/types_test.js` shows that a plain string is no text for `el`. These are the ways around it.
Deno.test("no page has a text of its own", () => {
  for (const { name, text } of SOURCES) {
    const ways = [
      ...text.matchAll(/verbatim\(\s*["'][^"']*\p{L}[^"']*["']/gu),
      ...text.matchAll(/\.(textContent|innerText|title|placeholder|ariaLabel|alt)\s*=[^=]/g),
      ...text.matchAll(/createTextNode\(\s*["'`]\s*[^"'`\s]/g),
    ].map(([found]) => found);
    const allowed = name === "main.js" ? ["document.title"] : [];
    assert.deepEqual(ways.filter((way) => !(allowed.length > 0 && way.startsWith(".title"))), [], name);
  }
});

Deno.test("nothing makes HTML or code of a text, and nothing comes from elsewhere", () => {
  const forbidden =
    /innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|\beval\(|new Function|https?:\/\/(?!www\.w3\.org)|from "(npm|jsr|node):/;
  for (const { name, text } of SOURCES) assert.equal(forbidden.exec(text)?.[0], undefined, name);
});

Deno.test("a number chooses its form", () => {
  assert.equal(filled(english.nodeCount, { n: 1 }, "en"), "1 node");
  assert.equal(filled(english.nodeCount, { n: 2 }, "en"), "2 nodes");
  assert.equal(filled(chinese.nodeCount, { n: 1 }, "zh-CN"), "1 个节点");
});

Deno.test("a value with braces is not filled again", () => {
  assert.equal(filled("{a} {b}", { a: "{b}", b: "$&" }, "en"), "{b} $&");
  assert.equal(filled("{constructor}", {}, "en"), "{constructor}");
});

Deno.test("the reader's languages choose ours", () => {
  assert.equal(bestLanguage(["zh-TW", "en"]), "zh-CN");
  assert.equal(bestLanguage(["fr", "en-GB", "zh"]), "en");
  assert.equal(bestLanguage(["fr"]), "en");
});
