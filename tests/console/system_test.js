// What the pages of files, node types and the system decide, without a browser.
import { strict as assert } from "node:assert";
import { inTurn } from "../../gateway/console/run/lists.js";
import { fileAddress, folderOf, isWritable, lastName, wayTo } from "../../gateway/console/lib/paths.js";
import { byCategory, found, ownName } from "../../gateway/console/pages/node_search.js";
import { capabilities, Heard } from "../../gateway/console/run/heard.js";

Deno.test("an address that names no folder shows the user's own files", () => {
  assert.equal(folderOf(undefined), "user://");
  assert.equal(folderOf("http://elsewhere/x"), "user://");
  assert.equal(folderOf("constructor://x"), "user://");
  assert.equal(folderOf("shared://a//b"), "shared://a/b/");
  assert.equal(folderOf("user://a\nb"), "user://a\nb/");
});

Deno.test("names of files stay names in addresses", () => {
  assert.equal(fileAddress("user://a b/50%?#.txt"), "api/files/user/a%20b/50%25%3F%23.txt");
  assert.equal(fileAddress("shared://notes/"), "api/files/shared/notes/");
  assert.equal(fileAddress("system://"), "api/files/system");
  assert.equal(lastName("user://a/b/"), "b");
  assert.equal(lastName("user://"), "user://");
});

Deno.test("the way to a folder has each folder on it", () => {
  assert.deepEqual(wayTo("user://a/b/"), ["user://", "user://a/", "user://a/b/"]);
  assert.ok(isWritable("shared://a/"));
  assert.ok(!isWritable("system://a/"));
});

/** @param {string} fullType @param {Partial<import("../../gateway/console/pages/node_search.js").NodeType>} [more] */
function type(fullType, more = {}) {
  const [namespace = "", own = ""] = fullType.split(":");
  const names = { namespace, type: own, fullType, displayName: own, description: "", category: "Text" };
  return { ...names, inputs: {}, outputs: {}, placement: "inline", version: "1", ...more };
}

Deno.test("a search finds what has all its words somewhere", () => {
  const nodes = [
    type("core:TextMerge", { description: "Joins texts.", displayNames: { zh: "合并文本" } }),
    type("core:Ask", { inputs: { prompt: { dataFlowType: "STRING" } }, category: "LLM" }),
  ];
  const names = (/** @type {string} */ query) => found(nodes, query).map((node) => node.type);
  assert.deepEqual(names("JOINS merge"), ["TextMerge"]);
  assert.deepEqual(names("llm prompt"), ["Ask"]);
  assert.deepEqual(names("合并"), ["TextMerge"]);
  assert.deepEqual(names("joins prompt"), []);
  assert.deepEqual(names("  "), ["TextMerge", "Ask"]);
});

Deno.test("categories and node types stand in the order of their names", () => {
  const groups = byCategory([type("b:Z"), type("a:__proto__", { category: "__proto__" }), type("b:A")]);
  assert.deepEqual(groups.map(({ category, nodes }) => [category, nodes.map((node) => node.type)]), [
    ["__proto__", ["__proto__"]],
    ["Text", ["A", "Z"]],
  ]);
});

Deno.test("a node type has the name of the reader's language, or its own", () => {
  const node = type("core:Ask", { displayNames: { zh: "询问", "en-GB": "Enquire" } });
  assert.equal(ownName(node, "zh-CN"), "询问");
  assert.equal(ownName(node, "en"), "Ask");
});

/** @param {[number, string, Record<string, unknown>][]} events Moment, type, payload. */
function heard(events) {
  const made = new Heard();
  events.forEach(([ts, type, payload], at) => made.add({ seq: at + 1, ts, type, payload }));
  return made;
}

/** @param {string} type @param {unknown} content @returns {Record<string, unknown>} */
const chunk = (type, content) => ({ sourceNodeId: "answer", yieldedContent: { type, content } });
/** @type {[number, string, Record<string, unknown>]} */
const BEGUN = [1000, "NODE_EXECUTING", { nodeId: "answer", attempt: 1 }];

Deno.test("a test of a channel tells times from the start of its node, and what came", () => {
  const told = heard([
    [10, "EXECUTION_STATUS_UPDATE", { status: "running" }],
    BEGUN,
    [1200, "NODE_YIELD", chunk("reasoning_chunk", "hm")],
    [1300, "NODE_YIELD", chunk("text_chunk", "Hel")],
    [1400, "NODE_YIELD", chunk("text_chunk", "lo")],
    [1450, "NODE_YIELD", chunk("finish_reason_chunk", { model: "m-1", usage: { prompt_tokens: 3 } })],
    [1500, "NODE_COMPLETE", { nodeId: "answer", output: {} }],
    [1600, "EXECUTION_STATUS_UPDATE", { status: "complete" }],
  ]);
  assert.deepEqual([told.isOver, told.firstMs, told.wholeMs, told.end.model], [true, 200, 500, "m-1"]);
  assert.deepEqual(capabilities(told), { pieces: "yes", reasoning: "yes", tools: "notTried", json: "notTried" });
  told.add({ seq: 4, ts: 9000, type: "NODE_YIELD", payload: chunk("text_chunk", "again") });
  assert.equal(told.pieces, 2);
});

Deno.test("tools and JSON count only when the answer has them", () => {
  const plain = heard([BEGUN, [1100, "NODE_YIELD", chunk("text_chunk", "Hello")]]);
  const tools = heard([BEGUN, [1100, "NODE_YIELD", chunk("finish_reason_chunk", { tool_calls: [{}] })]]);
  const json = heard([BEGUN, [1100, "NODE_COMPLETE", { nodeId: "answer", output: { data: ["inn"] } }]]);
  assert.deepEqual(capabilities(plain, { tools, json }), {
    pieces: "no",
    reasoning: "notSeen",
    tools: "yes",
    json: "no",
  });
});

Deno.test("a channel that does not answer says why", () => {
  const told = heard([
    BEGUN,
    [1500, "NODE_ERROR", { nodeId: "answer", errorDetails: { code: "unauthorized", message: "wrong key" } }],
    [1600, "EXECUTION_STATUS_UPDATE", { status: "error", errorInfo: { code: "unauthorized", message: "wrong key" } }],
  ]);
  assert.deepEqual([told.isOver, told.isAnswered, told.trouble?.message], [true, false, "wrong key"]);
});

Deno.test("no older answer follows a newer one: a list is loaded in turn, and once more for all who asked meanwhile", async () => {
  /** @type {(() => void)[]} */
  const answers = [];
  const load = () => new Promise((/** @type {(value: void) => void} */ resolve) => void answers.push(resolve));
  const reload = inTurn(load);
  reload();
  for (let times = 0; times < 3; times++) reload();
  assert.equal(answers.length, 1);
  answers[0]?.();
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(answers.length, 2);
  answers[1]?.();
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(answers.length, 2);
});
