// Addresses, keys and formats: pure, without a browser.
import { strict as assert } from "node:assert";
import { urlOf } from "../../gateway/console/api/rest.js";
import { bytes, duration, isSameDay, json, moment, name, NAME_CHARACTERS } from "../../gateway/console/lib/format.js";
import { step } from "../../gateway/console/lib/keys.js";
import { href, match, parse } from "../../gateway/console/lib/router.js";
import { isReference, SHOWN_CHARACTERS, shownPart, withoutStream } from "../../gateway/console/lib/values.js";

Deno.test("an address and its route are the same thing", () => {
  const path = ["run", "a/b?c#d", "%", "图"];
  const filters = { q: "x&y=z", status: "error" };
  assert.deepEqual(parse(href(path, filters)), { path, filters });
  assert.equal(href([], { q: "" }), "#/");
  assert.deepEqual(parse(""), { path: [], filters: {} });
});

Deno.test("an address that was typed by hand is read as far as it goes", () => {
  assert.deepEqual(parse("#//run//100%25%"), { path: ["run", "100%25%"], filters: {} });
});

Deno.test("a pattern gives parameters, or does not fit", () => {
  assert.deepEqual(match("", []), {});
  assert.deepEqual(match("run/:id/:view?", ["run", "7"]), { id: "7" });
  assert.deepEqual(match("run/:id/:view?", ["run", "7", "events"]), { id: "7", view: "events" });
  assert.equal(match("run/:id/:view?", ["run"]), null);
  assert.equal(match("run/:id", ["run", "7", "x"]), null);
  assert.equal(match("runs", ["run"]), null);
});

Deno.test("two keys in a row are a shortcut, and a wrong second one begins anew", () => {
  const known = ["g h", "?"];
  assert.deepEqual(step(known, "", "g"), { found: null, before: "g" });
  assert.deepEqual(step(known, "g", "h"), { found: "g h", before: "" });
  assert.deepEqual(step(known, "g", "?"), { found: "?", before: "" });
  assert.deepEqual(step(known, "g", "x"), { found: null, before: "" });
  assert.deepEqual(step(known, "g", "g"), { found: null, before: "g" });
});

Deno.test("durations are short where they are short", () => {
  assert.equal(duration(420), "0.4 s");
  assert.equal(duration(12_400), "12 s");
  assert.equal(duration(7.6), "8 ms");
  assert.equal(duration(100), "0.1 s");
  assert.equal(duration(59_700), "1 min");
  assert.equal(duration(185_000), "3 min 5 s");
  assert.equal(duration(3_599_600), "1 h");
  assert.equal(duration(7_440_000), "2 h 4 min");
  assert.equal(duration(-5), "<1 ms");
});

Deno.test("a moment of another day has its date, and one that cannot be read stays as it is", () => {
  const now = new Date(2030, 0, 31, 12);
  assert.match(moment(new Date(2030, 0, 31, 8, 5).toISOString(), now), /^8:05/);
  assert.match(moment(new Date(2030, 0, 30, 8, 5).toISOString(), now), /Jan 30, 2030/);
  assert.equal(moment("soon", now), "soon");
  assert.ok(!isSameDay(new Date(2030, 0, 31), new Date(2030, 1, 1)));
});

Deno.test("sizes", () => {
  assert.equal(bytes(0), "0 bytes");
  assert.equal(bytes(1), "1 byte");
  assert.equal(bytes(48_213), "48.2 kB");
  assert.equal(bytes(5e12), "5,000 GB");
});

Deno.test("a name cannot turn the direction of writing, or hide its end", () => {
  assert.equal(name("a\u202etxt.exe\u0000\n\u007f"), "a\u25c7txt.exe\u2400\u240a\u2421");
  assert.equal(name("שלום 图 é"), "שלום 图 é");
});

Deno.test("what is not seen in a name is shown, and what people write stays", () => {
  assert.equal(name("pay\u200bpal\ufeff\u00ad\u2060 a\u2028b\u0085c"), "pay◇pal◇◇◇ a◇b◇c");
  const written = "👩\u200d🔧 می\u200cخواهم क्\u200dष é̂ 🏴";
  assert.equal(name(written), written);
});

Deno.test("a name covers no other lines, and is not longer than anybody reads", () => {
  assert.equal(name(`a${"\u0301".repeat(500)}b`), `a${"\u0301".repeat(6)}◇b`);
  assert.equal(name("x".repeat(1_000_000)), `${"x".repeat(NAME_CHARACTERS)}…`);
});

Deno.test("an id cannot make the address of a request that of another route", () => {
  const paths = ["..", ".", "%2e%2E", ".%2e"].flatMap((id) => [`api/prompt/${id}`, `api/history/${id}/x`]);
  for (const path of [...paths, "api/prompt/a/../b?q=1", "api\\..\\b"]) {
    assert.throws(() => urlOf(path), { name: "Error", code: "not_found" }, path);
  }
});

Deno.test("of a long text the begin is shown, without half a sign", () => {
  assert.equal(shownPart("x".repeat(SHOWN_CHARACTERS)).length, SHOWN_CHARACTERS);
  assert.equal(shownPart(`${"x".repeat(SHOWN_CHARACTERS - 1)}😀tail`), "x".repeat(SHOWN_CHARACTERS - 1));
});

Deno.test("a value is its text, or JSON", () => {
  assert.equal(json("a\nb"), "a\nb");
  assert.equal(json({ a: [1] }), '{\n  "a": [\n    1\n  ]\n}');
  assert.equal(json(undefined), "");
});

Deno.test("a stream is shown as its text, and only a stream", () => {
  assert.equal(withoutStream({ text: "x", chunks: 2 }), "x");
  assert.equal(withoutStream({ text: "x", chunks: 2, items: [] }), "x");
  const own = { text: "x", chunks: 2, other: 1 };
  assert.equal(withoutStream(own), own);
  assert.ok(isReference({ $blob: "00", size: 3, mime: "text/plain" }));
  assert.ok(!isReference({ text: "$blob" }));
});
