// The graph of a run: from documents to boxes, ways between them, and what is in view. Pure, without a browser.
import { strict as assert } from "node:assert";
import { fitted, inView, panned, readable, revealing, toGraph, zoomed } from "../../gateway/console/graph/camera.js";
import { graphOf, graphOfPaths, NODE_HEIGHT, NODE_WIDTH } from "../../gateway/console/graph/document.js";
import { layered, longestPaths } from "../../gateway/console/graph/layout.js";
import { guessedLevel, levelAt, placeOf } from "../../gateway/console/graph/levels.js";
import { placed } from "../../gateway/console/graph/minimap.js";
import { fitting, neighbour } from "../../gateway/console/graph/moves.js";
import { faceOf, tailOf } from "../../gateway/console/graph/node.js";
import { Tally } from "../../gateway/console/graph/tally.js";
import { inSight } from "../../gateway/console/lib/rows.js";
import { project } from "../../gateway/console/run/project.js";

/** @typedef {Record<string, unknown>} Json */

/** @param {string} id @param {Json} [more] */
const node = (id, more = {}) => ({ id, type: "core:TextMerge", ...more });
/** @param {string} source @param {string} target */
const edge = (source, target) => ({ source, sourceHandle: "out", target, targetHandle: "in" });
/** @param {string} name */
const recorded = (name) => JSON.parse(Deno.readTextFileSync(new URL(`logs/${name}.json`, import.meta.url))).events;
/** @param {string} name @returns {Json} */
const example = (name) => JSON.parse(Deno.readTextFileSync(new URL(`../../examples/${name}.json`, import.meta.url)));

Deno.test("both forms of a workflow give the same graph", () => {
  const stored = graphOf({ nodes: [node("a"), node("b")], edges: [edge("a", "b")] });
  const payload = graphOf({
    nodes: [{ id: "a", fullType: "core:TextMerge" }, { id: "b", fullType: "core:TextMerge" }],
    edges: [{ sourceNodeId: "a", sourceHandle: "out", targetNodeId: "b", targetHandle: "in" }],
  });
  assert.deepEqual(stored, payload);
  assert.deepEqual(stored.next, [[1], []]);
  assert.deepEqual(stored.before, [[], [0]]);
});

Deno.test("a document that is odd gives what of it is a graph", () => {
  const strange = [null, 3, node("__proto__"), node("box", { type: "core:frame" })];
  const graph = graphOf({ nodes: strange, edges: [edge("__proto__", "nobody"), "x", edge("__proto__", "__proto__")] });
  assert.deepEqual(graph.nodes.map(({ id }) => id), ["__proto__"]);
  assert.equal(graph.edges.length, 1);
  assert.deepEqual(graphOf({ nodes: "none" }).nodes, []);
});

Deno.test("positions of the document count when all nodes have one of their own", () => {
  const at = (/** @type {unknown} */ x) => node(`n${x}`, { position: { x, y: 5 } });
  assert.deepEqual(graphOf({ nodes: [at(0), at(900)] }).nodes.map(({ x }) => x), [0, 900]);
  const twice = graphOf({ nodes: [node("a", { position: { x: 1, y: 1 } }), node("b", { position: { x: 1, y: 1 } })] });
  assert.notDeepEqual(twice.nodes[0]?.y, twice.nodes[1]?.y);
  for (const odd of [1e300, "7", null, NaN]) assert.notEqual(graphOf({ nodes: [at(odd), at(3)] }).nodes[1]?.x, 3);
});

Deno.test("the example that is drawn by hand keeps its drawing, and no box lies on another", () => {
  const { nodes } = graphOf(example("story"));
  for (const one of nodes) {
    for (const other of nodes) {
      const isApart = Math.abs(one.x - other.x) >= NODE_WIDTH || Math.abs(one.y - other.y) >= NODE_HEIGHT;
      assert.ok(one === other || isApart, `${one.id} lies on ${other.id}`);
    }
  }
});

Deno.test("each edge leads to the right, and no box lies on another", () => {
  for (let seed = 1; seed <= 50; seed++) {
    const links = randomLinks(40, seed);
    const places = layered(40, links);
    for (const { source, target } of links) assert.ok((places[source]?.[0] ?? 0) < (places[target]?.[0] ?? 0));
    assert.equal(new Set(places.map(String)).size, 40);
  }
});

/** Edges from lower to higher numbers. @param {number} count @param {number} seed */
function randomLinks(count, seed) {
  let state = seed;
  const next = (/** @type {number} */ below) => (state = (state * 48271) % 2147483647) % below;
  return Array.from({ length: count * 2 }, () => {
    const source = next(count - 1);
    return { source, target: source + 1 + next(count - source - 1) };
  });
}

Deno.test("a chain is one line, and neighbours stand beside each other", () => {
  assert.deepEqual(longestPaths(3, [{ source: 2, target: 1 }, { source: 1, target: 0 }]), [[2], [1], [0]]);
  // 0 feeds 3, 1 feeds 2: without sorting the edges cross.
  const places = layered(4, [{ source: 0, target: 3 }, { source: 1, target: 2 }]);
  assert.equal(places[0]?.[1], places[3]?.[1]);
  assert.equal(places[1]?.[1], places[2]?.[1]);
});

Deno.test("a cycle and 1,000 nodes without edges are drawn as well", () => {
  assert.equal(layered(2, [{ source: 0, target: 1 }, { source: 1, target: 0 }]).length, 2);
  const many = layered(1000, []);
  assert.equal(new Set(many.map(String)).size, 1000);
  const height = Math.max(...many.map(([, y]) => y)) - Math.min(...many.map(([, y]) => y));
  assert.ok(height < 6000, `${height} is a line`);
});

Deno.test("zoom keeps the point under the pointer, and stays within bounds", () => {
  const camera = { x: 10, y: -5, zoom: 0.5 };
  const at = { x: 300, y: 200 };
  const closer = zoomed(camera, 1.7, at);
  assert.deepEqual(rounded(toGraph(closer, at)), rounded(toGraph(camera, at)));
  assert.equal(zoomed(camera, 1e9, at).zoom, 2.5);
  assert.equal(zoomed(camera, 1e-9, at).zoom, 0.02);
  assert.deepEqual(panned(camera, 10, 20), { x: -10, y: -45, zoom: 0.5 });
});

/** @param {{ x: number, y: number }} point */
function rounded({ x, y }) {
  return [x.toFixed(6), y.toFixed(6)];
}

Deno.test("all of a graph is in view after fitting, and a small one is not blown up", () => {
  const box = { left: -100, top: 50, right: 9000, bottom: 700 };
  const size = { width: 800, height: 600 };
  const view = inView(fitted(box, size), size);
  assert.ok(view.left < box.left && view.right > box.right && view.top < box.top && view.bottom > box.bottom);
  assert.equal(fitted({ left: 0, top: 0, right: 10, bottom: 10 }, size).zoom, 1);
});

Deno.test("what is selected comes into view, and what is there already moves nothing", () => {
  const size = { width: 800, height: 600 };
  const camera = { x: 0, y: 0, zoom: 1 };
  const boxAt = (/** @type {number} */ left) => ({ left, top: 100, right: left + NODE_WIDTH, bottom: 200 });
  assert.deepEqual(revealing(camera, boxAt(200), size), camera);
  const moved = revealing(camera, boxAt(2000), size);
  assert.ok(moved.x + 800 > 2000 + NODE_WIDTH);
  assert.equal(moved.y, 0);
  assert.ok(revealing(camera, boxAt(-700), size).x < -700);
});

Deno.test("what was looked for stands in the middle, close enough to be read", () => {
  const size = { width: 800, height: 600 };
  const box = { left: 5000, top: -40, right: 5200, bottom: 60 };
  const view = inView(readable({ x: 0, y: 0, zoom: 0.05 }, box, size), size);
  assert.deepEqual([(view.left + view.right) / 2, (view.top + view.bottom) / 2], [5100, 10]);
  assert.equal(view.right - view.left, 1000);
  assert.equal(readable({ x: 0, y: 0, zoom: 2 }, box, size).zoom, 2);
});

Deno.test("arrows follow edges sideways and places up and down", () => {
  const at = (/** @type {string} */ id, /** @type {number} */ x, /** @type {number} */ y) =>
    node(id, { position: { x, y } });
  const graph = graphOf({
    nodes: [at("in", 0, 0), at("up", 300, -100), at("down", 300, 90), at("alone", 300, 300)],
    edges: [edge("in", "up"), edge("in", "down")],
  });
  const go = (/** @type {string} */ from, /** @type {string} */ key) =>
    graph.nodes[neighbour(graph, graph.index.get(from) ?? -1, key)]?.id;
  assert.equal(go("nobody", "ArrowRight"), "in");
  assert.equal(go("in", "ArrowRight"), "down");
  assert.equal(go("down", "ArrowUp"), "up");
  assert.equal(go("down", "ArrowLeft"), "in");
  assert.equal(go("down", "ArrowDown"), "alone");
  assert.equal(go("alone", "ArrowRight"), "alone");
});

Deno.test("a node is found by a part of its name, id or type", () => {
  const graph = graphOf({
    nodes: [node("a1", { displayName: "Tell the story" }), node("b2", { type: "core:OpenAI" })],
  });
  assert.deepEqual(fitting(graph, " STORY "), [0]);
  assert.deepEqual(fitting(graph, "openai"), [1]);
  assert.deepEqual(fitting(graph, "b2"), [1]);
  assert.deepEqual(fitting(graph, " "), []);
});

Deno.test("a box says what the events of a recorded run say", () => {
  const view = project(recorded("retry").slice(0, 3));
  const shown = { path: "tell", state: view.nodes.get("tell") ?? {}, stream: null };
  const [tell] = graphOf({ nodes: [node("tell", { type: "core:OpenAI" })] }).nodes;
  assert.ok(tell);
  const face = faceOf(tell, shown);
  assert.deepEqual([face.title, face.type, face.word, face.badges], ["tell", "OpenAI", "running", ""]);
  const again = { ...shown, state: { ...shown.state, attempts: 3, progress: { value: 1, max: 4 } } };
  const priced = faceOf(tell, again, { cost: 0.01234, currency: "USD" });
  assert.equal(priced.badges, "\u00d73 \u00b7 1 of 4 \u00b7 0.012 USD");
  assert.equal(priced.part, 0.25);
  assert.equal(faceOf(tell, { path: "tell", state: {}, stream: null }).word, "not begun");
});

Deno.test("of a stream a box shows the end, without what would hide or turn it", () => {
  assert.equal(tailOf("one\ntwo\n\nthree\u202e\n"), "two\nthree\u25c7");
  assert.ok(tailOf("x".repeat(1e6)).length <= 160);
  assert.equal(tailOf(`${"x".repeat(159)}\ud83d\ude00${"y".repeat(159)}`)[0], "y");
});

const INNER = { nodes: [node("x"), node("deep", { type: "core:NodeGroup" })], edges: [edge("x", "deep")] };
const OUTER = {
  nodes: [node("g", { type: "core:NodeGroup", displayName: "Group" }), node("each", { type: "core:ForEach" })],
  edges: [],
};

Deno.test("an address leads into groups and items, which share one document", async () => {
  /** @type {string[]} */
  const asked = [];
  const at = (/** @type {string} */ place) =>
    levelAt(place, (path) => {
      asked.push(path);
      return Promise.resolve(path === "" ? OUTER : INNER);
    }, () => []);
  const group = await at("g");
  assert.deepEqual([group.kind, group.prefix, group.isKept], ["graph", "g/", true]);
  assert.deepEqual(group.graph.nodes.map(({ id }) => id), ["x", "deep"]);
  assert.deepEqual(group.crumbs, [{ path: "g", title: "Group", item: null }]);
  assert.equal((await at("each")).kind, "items");
  asked.length = 0;
  const deep = await at("each/3/deep");
  assert.deepEqual(asked, ["", "each/0", "each/0/deep"]);
  assert.deepEqual(deep.crumbs.map(({ path, item }) => [path, item]), [
    ["each", null],
    ["each/3", 3],
    ["each/3/deep", null],
  ]);
});

Deno.test("without a document, events tell what there is", async () => {
  const paths = ["a", "g", "g/x", "each", "each/0/x", "each/1/x", "each/1/y"];
  const at = (/** @type {string} */ place) => levelAt(place, () => Promise.resolve(null), () => paths);
  const top = await at("");
  assert.deepEqual(top.graph.nodes.map(({ id, kind }) => [id, kind]), [["a", "node"], ["g", "group"], [
    "each",
    "each",
  ]]);
  assert.equal(top.isKept, false);
  assert.equal((await at("each")).kind, "items");
  const item = await at("each/1");
  assert.deepEqual(item.graph.nodes.map(({ id }) => id), ["x", "y"]);
  assert.deepEqual(item.crumbs.map(({ item }) => item), [null, 1]);
  assert.deepEqual(guessedLevel("nowhere", paths).graph.nodes, []);
  const recordedPaths = [...project(recorded("group")).nodes.keys()];
  assert.deepEqual(graphOfPaths(recordedPaths, "g/").nodes.map(({ id }) => id).sort(), ["ask", "out"]);
});

Deno.test("a node in the address is looked for where it stands", () => {
  assert.equal(placeOf({ node: "g/x" }), "g");
  assert.equal(placeOf({ node: "x" }), "");
  assert.equal(placeOf({ node: "g/x", in: "" }), "");
  assert.equal(placeOf({}), "");
});

Deno.test("items of a repetition stand as their most urgent node does", () => {
  const tally = new Tally("each/");
  assert.ok(tally.count("each/10/x", "running"));
  assert.ok(tally.count("each/2/x", "complete"));
  assert.ok(tally.count("each/2/y", "error"));
  assert.ok(!tally.count("each/2/y", "error"));
  assert.ok(!tally.count("each/2/g/inner", "error"));
  assert.ok(!tally.count("each", "running") && !tally.count("other/1/x", "running"));
  assert.deepEqual(tally.numbers(), [2, 10]);
  assert.deepEqual(tally.numbers("error"), [2]);
  assert.deepEqual(tally.item(2), { number: 2, status: "error", failed: "each/2/y" });
  tally.count("each/10/x", "complete");
  assert.equal(tally.statusOf(10), "complete");
  assert.equal(tally.statusOf(99), "pending");
});

Deno.test("of a long list only what is in sight is there", () => {
  assert.deepEqual(inSight({ top: 0, room: 400, height: 40, count: 5000 }), { from: 0, to: 18 });
  assert.deepEqual(inSight({ top: 40_000, room: 400, height: 40, count: 5000 }), { from: 992, to: 1018 });
  assert.deepEqual(inSight({ top: 9e9, room: 400, height: 40, count: 3 }), { from: 0, to: 3 });
  assert.deepEqual(inSight({ top: 0, room: 0, height: 40, count: 0 }), { from: 0, to: 0 });
});

Deno.test("the map holds the whole graph", () => {
  const { scale, x, y } = placed({ left: -500, top: 0, right: 4500, bottom: 100 });
  assert.ok(-500 * scale + x >= 0 && 4500 * scale + x <= 180);
  assert.ok(y >= 0 && 100 * scale + y <= 110);
});
