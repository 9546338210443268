// The library of workflows: which version runs, what fits a search, and how versions differ. Pure.
import { strict as assert } from "node:assert";
import { graphOfBoth, rowsOf } from "../../gateway/console/library/difference.js";
import { fitting, versionThatRuns } from "../../gateway/console/library/workflows.js";
import { pairOf } from "../../gateway/console/pages/workflow.js";
import { readDocument } from "../../gateway/console/pages/workflows.js";

/** @param {number} version @param {{ valid?: boolean, published?: boolean }} [more] */
function version(version, { valid = true, published = false } = {}) {
  return { version, valid, published, etag: "", author: "", savedAt: "", note: "" };
}

Deno.test("runs by id take the published version, else the newest that compiles", () => {
  const draft = version(4, { valid: false });
  assert.equal(versionThatRuns([draft, version(3), version(2, { published: true })])?.version, 2);
  assert.equal(versionThatRuns([draft, version(3), version(2)])?.version, 3);
  assert.equal(versionThatRuns([draft])?.version, 4);
  assert.equal(versionThatRuns([]), undefined);
});

Deno.test("the newest version is compared with the one before, unless the address says otherwise", () => {
  const versions = [version(3), version(2), version(1)];
  assert.deepEqual(pairOf({}, versions), { from: 2, to: 3 });
  assert.deepEqual(pairOf({ from: "1" }, versions), { from: 1, to: 3 });
  assert.deepEqual(pairOf({ from: "x", to: "2" }, versions), null);
  assert.equal(pairOf({}, [version(1)]), null);
});

Deno.test("a search finds any name, in one project", () => {
  const flow = (/** @type {string} */ id, /** @type {string} */ projectId, /** @type {string[]} */ tags) => ({
    id,
    projectId,
    tags,
    name: id.toUpperCase(),
    version: 1,
    published: null,
    valid: true,
    interface: {},
    updatedAt: "",
    etag: "",
  });
  const all = [flow("a", "default", ["Demo"]), flow("b", "tales", []), flow("c", "tales", ["demo"])];
  const ids = (/** @type {Record<string, string>} */ filters) => fitting(all, filters).map((one) => one.id);
  assert.deepEqual(ids({}), ["a", "b", "c"]);
  assert.deepEqual(ids({ q: " demo" }), ["a", "c"]);
  assert.deepEqual(ids({ q: "demo", project: "tales" }), ["c"]);
});

Deno.test("a file without an id has its own name as one", () => {
  assert.deepEqual(readDocument('{"nodes": []}', "hello.json"), { id: "hello", nodes: [] });
  assert.equal(readDocument('{"id": "own"}', "hello.json").id, "own");
  assert.throws(() => readDocument("[]", "a.json"), /no workflow/);
});

const node = (/** @type {string} */ id) => ({ id, type: "core:TextMerge" });
const edge = (/** @type {string} */ source, /** @type {string} */ target) => ({
  source,
  target,
  sourceHandle: "merged_text",
  targetHandle: "text_inputs__0",
});
const NOTHING = { added: [], removed: [], changed: [] };
const DIFFERENCE = {
  from: 1,
  to: 2,
  nodes: {
    added: ["new"],
    removed: ["old"],
    changed: [{ id: "kept", changes: { "inputs.a": { from: 1, to: null } } }],
  },
  edges: { added: ["kept.merged_text > new.text_inputs__0"], removed: [], changed: [] },
  inputs: NOTHING,
  outputs: NOTHING,
  document: { name: { from: "A", to: "B" } },
};

Deno.test("a difference is a row for each thing that changed", () => {
  assert.deepEqual(
    rowsOf(DIFFERENCE).map(({ part, how, id, path, from, to }) => [part, how, id, path, from, to]),
    [
      ["nodes", "added", "new", "", undefined, undefined],
      ["nodes", "removed", "old", "", undefined, undefined],
      ["nodes", "changed", "kept", "inputs.a", 1, null],
      ["edges", "added", "kept.merged_text > new.text_inputs__0", "", undefined, undefined],
      ["document", "changed", "", "name", "A", "B"],
    ],
  );
});

Deno.test("what is gone stands in the graph of both versions, with its edges", () => {
  const before = { nodes: [node("old"), node("kept")], edges: [edge("old", "kept")] };
  const after = { nodes: [node("kept"), node("new")], edges: [edge("kept", "new")] };
  const { graph, marks } = graphOfBoth(before, after, DIFFERENCE);
  const ids = graph.nodes.map((one) => one.id);
  assert.deepEqual(ids, ["kept", "new", "old"]);
  assert.deepEqual([...marks], [["new", "added"], ["old", "removed"], ["kept", "changed"]]);
  const ends = graph.edges.map(({ source, target }) => `${ids[source]} ${ids[target]}`);
  assert.deepEqual(ends.sort(), ["kept new", "old kept"]);
});
