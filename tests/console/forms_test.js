// Forms: what a slot takes, what is secret, whose a problem is, and the same call from elsewhere. Pure.
import { strict as assert } from "node:assert";
import { bodyOf, curlOf, pythonOf } from "../../gateway/console/forms/call.js";
import { fedTypes, feedsOf, fieldsOf, inputsOf, secrecy } from "../../gateway/console/forms/feeds.js";
import { keepValues, keptValues } from "../../gateway/console/forms/kept.js";
import { kindOf, messagesIn, readMessages, readText, settled, textOf } from "../../gateway/console/forms/slots.js";
import { acceptOf, fileName } from "../../gateway/console/forms/uploads.js";

/** @typedef {import("../../gateway/console/forms/slots.js").Slot} Slot */

/** @param {string} dataFlowType @param {Partial<Slot>} [more] @returns {Slot} */
function slot(dataFlowType, more = {}) {
  return { dataFlowType, ...more };
}

/** @param {Slot} of @param {string} text */
function read(of, text) {
  const reading = readText(kindOf(of), of, text);
  return reading.state === "value"
    ? reading.value
    : reading.state === "wrong"
    ? { wrong: reading.complaint }
    : undefined;
}

/** @param {Slot} of @param {string} text @param {unknown} [base] @param {boolean} [isComplete] */
function given(of, text, base, isComplete = true) {
  const reading = settled(of, readText(kindOf(of), of, text), { base, isComplete });
  return reading.state === "value" ? reading.value : reading.state;
}

Deno.test("each slot has the field of its kind", () => {
  const suggestions = ["a", { value: "b", label: "B" }];
  const cases = /** @type {[Slot, string][]} */ ([
    [slot("STRING"), "line"],
    [slot("STRING", { config: { multiline: true } }), "text"],
    [slot("STRING", { config: { default: "a\nb" } }), "text"],
    [slot("STRING", { matchCategories: ["Markdown"] }), "text"],
    [slot("STRING", { config: { suggestions } }), "line"],
    [slot("STRING", { config: { suggestions }, matchCategories: ["ComboOption"] }), "choice"],
    [slot("INTEGER", { config: { suggestions }, matchCategories: ["ComboOption"] }), "choice"],
    [slot("INTEGER"), "integer"],
    [slot("FLOAT"), "number"],
    [slot("BOOLEAN"), "boolean"],
    [slot("OBJECT"), "object"],
    [slot("ARRAY"), "list"],
    [slot("ARRAY", { matchCategories: ["ChatHistory"] }), "messages"],
    [slot("STRING", { matchCategories: ["Json", "ChatHistory"] }), "messages"],
    [slot("STRING", { matchCategories: ["ResourceId", "FilePath"] }), "file"],
    [slot("STRING", { matchCategories: ["ImageData", "Url"] }), "data"],
    [slot("BINARY"), "data"],
    [slot("STRING", { multi: true }), "list"],
    [slot("STRING", { secret: true }), "secret"],
    [slot("WILDCARD"), "any"],
    [slot("A_TYPE_OF_TOMORROW"), "any"],
  ]);
  assert.deepEqual(cases.map(([one]) => kindOf(one)), cases.map(([, kind]) => kind));
});

Deno.test("a number is a number within its bounds, and exactly the one that was typed", () => {
  const bounded = slot("INTEGER", { config: { min: 0 }, max: 9 });
  assert.equal(read(bounded, " 9 "), 9);
  assert.deepEqual(read(bounded, "10"), { wrong: "The most is 9." });
  assert.deepEqual(read(bounded, "-1"), { wrong: "The least is 0." });
  assert.deepEqual(read(bounded, "1.5"), { wrong: "This is no whole number." });
  for (const text of ["9007199254740993", "-9223372036854775808", "18446744073709551615"]) {
    assert.equal(JSON.stringify(read(slot("INTEGER"), text)), text);
  }
  assert.equal(JSON.stringify(read(slot("INTEGER"), "+0009007199254740993")), "9007199254740993");
  for (const text of ["18446744073709551616", "-9223372036854775809", "1e30"]) {
    assert.deepEqual(read(slot("INTEGER"), text), { wrong: "This number is too long to be kept exactly." }, text);
  }
  assert.equal(read(slot("FLOAT"), "-.5e1"), -5);
  for (const text of ["warm", "1,5", "0x10", "Infinity", "1e999", "--1"]) {
    assert.deepEqual(read(slot("FLOAT"), text), { wrong: "This is no number, such as 0.7." }, text);
  }
});

Deno.test("JSON is checked for its kind, and anything else is text where text is allowed", () => {
  assert.deepEqual(read(slot("OBJECT"), '{"a": [1]}'), { a: [1] });
  assert.deepEqual(read(slot("OBJECT"), "[1]"), { wrong: 'This is no object, such as {"a": 1}.' });
  assert.deepEqual(read(slot("ARRAY"), "{}"), { wrong: "This is no list, such as [1, 2]." });
  assert.match(JSON.stringify(read(slot("OBJECT"), "{a: 1}")), /This is no JSON: /);
  assert.equal(read(slot("WILDCARD"), "{a: 1}"), "{a: 1}");
  assert.equal(read(slot("WILDCARD"), "12"), 12);
});

Deno.test("a value and the text that stands for it are the same thing", () => {
  for (const value of ["12", "null", "a\nb", 12, true, [1], { a: null }]) {
    assert.deepEqual(read(slot("WILDCARD"), textOf("any", value)), value);
  }
  assert.equal(textOf("line", undefined), "");
});

Deno.test("a field that stays as it is gives nothing, and one that was emptied gives the empty text", () => {
  const text = slot("STRING", { required: true });
  assert.equal(given(text, "Hello", "Hello"), "empty");
  assert.equal(given(text, "", "Hello"), "");
  assert.equal(given(text, "", undefined), "wrong");
  assert.equal(given(text, "", undefined, false), "empty");
  assert.equal(given(slot("STRING"), ""), "empty");
  assert.equal(given(slot("INTEGER", { required: true }), "", 3), "empty");
  assert.equal(given(slot("OBJECT"), '{ "a" : 1 }', { a: 1 }), "empty");
  assert.equal(given(slot("STRING", { secret: true, required: true }), "", "$secret:00"), "empty");
});

Deno.test("a chat is shown by messages unless it holds more", () => {
  const list = [{ role: "user", content: "Hi" }];
  assert.deepEqual(messagesIn(JSON.stringify(list)), list);
  assert.deepEqual(messagesIn(undefined), []);
  assert.equal(messagesIn([{ role: "user", content: [{ type: "image_url" }] }]), null);
  assert.equal(messagesIn([{ role: "tool", content: "", tool_call_id: "1" }]), null);
  assert.equal(messagesIn("no JSON"), null);
  const text = slot("STRING", { matchCategories: ["ChatHistory"] });
  assert.deepEqual(readMessages(text, list), { state: "value", value: JSON.stringify(list) });
  assert.deepEqual(readMessages(slot("ARRAY"), list), { state: "value", value: list });
  const same = { state: /** @type {const} */ ("value"), value: JSON.stringify(list) };
  assert.equal(settled(text, same, { base: '[{"role": "user", "content": "Hi"}]', isComplete: true }).state, "empty");
  assert.deepEqual(settled(text, readMessages(text, []), { base: list, isComplete: true }), {
    state: "value",
    value: "[]",
  });
});

const DOCUMENT = {
  interfaceInputs: {
    prompt: { dataFlowType: "STRING" },
    credential: { dataFlowType: "STRING" },
    settings: { dataFlowType: "OBJECT" },
    api_key: { dataFlowType: "STRING" },
    ["__proto__"]: { dataFlowType: "STRING" },
    broken: "no slot",
  },
  nodes: [
    { id: "in", type: "core:GroupInput" },
    { id: "call", fullType: "core:HttpRequest" },
    { id: "group", type: "core:NodeGroup" },
  ],
  edges: [
    { source: "in", sourceHandle: "prompt", target: "call", targetHandle: "body__0" },
    { sourceNodeId: "in", sourceHandle: "credential", targetNodeId: "call", targetHandle: "authorization" },
    { source: "in", sourceHandle: "settings", target: "call", targetHandle: "settings" },
    { source: "in", sourceHandle: "api_key", target: "group", targetHandle: "api_key" },
    { source: "call", sourceHandle: "text", target: "group", targetHandle: "text" },
    null,
  ],
};
const TYPES = new Map([
  ["core:HttpRequest", {
    inputs: { authorization: { secret: true }, settings: { secretKeys: ["api_key"] }, body: {} },
  }],
]);

Deno.test("an input is as secret as what it goes to", () => {
  const feeds = feedsOf(DOCUMENT);
  assert.deepEqual(feeds.get("prompt"), [{ node: "call", slot: "body", type: "core:HttpRequest" }]);
  assert.deepEqual(fedTypes(feeds), ["core:HttpRequest"]);
  const how = inputsOf(DOCUMENT).map(([key, one]) => [key, secrecy(key, one, feeds.get(key) ?? [], TYPES)]);
  assert.deepEqual(how, [
    ["prompt", "none"],
    ["credential", "whole"],
    ["settings", "part"],
    ["api_key", "whole"],
    ["__proto__", "none"],
  ]);
  const stored = slot("STRING", { config: { default: "$secret:00" } });
  assert.equal(secrecy("prompt", stored, [], TYPES), "whole");
  assert.equal(secrecy("my_token", slot("STRING"), feeds.get("prompt") ?? [], TYPES), "part");
  assert.deepEqual(inputsOf({ interfaceInputs: null }), []);
});

Deno.test("a problem is shown at the input that it names, or that goes to the slot that it names", () => {
  const feeds = feedsOf(DOCUMENT);
  const keys = ["prompt", "credential", "settings", "api_key"];
  const problem = (/** @type {object} */ where) => ({ code: "c", message: "m", ...where });
  assert.deepEqual(fieldsOf(problem({ slot: "prompt" }), keys, feeds), ["prompt"]);
  assert.deepEqual(fieldsOf(problem({ node: "call", slot: "authorization" }), keys, feeds), ["credential"]);
  assert.deepEqual(fieldsOf(problem({ node: "call", slot: "prompt" }), keys, feeds), []);
  assert.deepEqual(fieldsOf(problem({ node: "call" }), keys, feeds), []);
});

Deno.test("what was typed is kept for its form, without what is long", () => {
  keepValues("default/a", new Map(/** @type {[string, unknown][]} */ ([["__proto__", 1], ["n", [true]]])));
  keepValues("default/b", new Map([["picture", "x".repeat(30_000)]]));
  assert.deepEqual([...keptValues("default/a")], [["__proto__", 1], ["n", [true]]]);
  assert.equal(keptValues("default/b").size, 0);
  localStorage.setItem("innkeeper.inputs.default/c", '{"no": "list"');
  assert.equal(keptValues("default/c").size, 0);
  localStorage.clear();
});

Deno.test("a file gets a name that the gateway takes", () => {
  assert.equal(fileName("..\\a/b\u0000.png"), "_a_b_.png");
  assert.equal(fileName(""), "file");
  assert.equal(fileName("cat.tar.gz", 2), "cat.tar-2.gz");
  assert.equal(fileName("README", 3), "README-3");
  assert.equal(acceptOf(slot("STRING", { config: { acceptedTypes: [{ value: "png" }, ".json"] } })), ".png,.json");
  assert.equal(acceptOf(slot("STRING", { matchCategories: ["ImageData"] })), "image/*");
  assert.equal(acceptOf(slot("STRING")), null);
});

const CALL = {
  url: "gateway:8090",
  hasToken: true,
  workflowId: "it's",
  project: "tales",
  version: 3,
  inputs: new Map(
    /** @type {[string, unknown][]} */ ([["who", "O'Hara\n$(x)"], ["key", "sk-1"], ["deep", { a: [null, true] }]]),
  ),
  secrets: ["key"],
};

// `test_start.py` runs what is shown here, in a shell and in Python.
Deno.test("the same call is one word for a shell, and shows no secret", () => {
  const said = curlOf(CALL);
  const sent = JSON.stringify(bodyOf({ ...CALL, inputs: new Map(CALL.inputs).set("key", "<key>") }));
  assert.ok(said.endsWith(`-d '${sent.replaceAll("'", "'\\''")}'`), said);
  assert.ok(said.includes('-H "Authorization: Bearer $INNKEEPER_ACCESS_TOKEN"'));
  assert.ok(!curlOf({ ...CALL, hasToken: false }).includes("Authorization"));
  assert.ok(!said.includes("sk-1") && !pythonOf(CALL).includes("sk-1"));
});

Deno.test("in Python values are Python's", () => {
  const said = pythonOf(CALL);
  assert.ok(said.includes(`inputs={"who": "O'Hara\\n$(x)", "key": "<key>", "deep": {"a": [None, True]}},`), said);
  assert.ok(said.includes('GatewayClient("gateway:8090", os.environ["INNKEEPER_ACCESS_TOKEN"])'));
  assert.ok(!pythonOf({ ...CALL, hasToken: false }).includes("os"), "nothing is imported that is not used");
});

Deno.test("in a call that is copied nothing is unseen or steers a terminal", () => {
  const odd = "\u001b[2J\u009b2J\u007f\u202e\u2066\u200b\u2028\ufeff`$(x)`!!\\'\n";
  const call = { ...CALL, workflowId: odd, project: odd, inputs: new Map([[odd, odd]]) };
  for (const said of [curlOf(call), pythonOf(call)]) {
    assert.match(said, /^[\n\x20-\x7e]+$/);
  }
  const word = /-d '(.*)'$/.exec(curlOf(call))?.[1]?.replaceAll("'\\''", "'");
  assert.deepEqual(JSON.parse(word ?? ""), bodyOf(call));
});

Deno.test("a call names only what is not so in any case", () => {
  const plain = { workflowId: "a", project: "", version: null, inputs: new Map() };
  assert.deepEqual(bodyOf(plain), { workflowId: "a" });
});
