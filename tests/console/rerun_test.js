// Reruns: what was announced, and what came. Events: page by page.
import { strict as assert } from "node:assert";
import { takeEvents } from "../../gateway/console/run/event_pages.js";
import { compare, surprises } from "../../gateway/console/run/rerun.js";

/** @typedef {import("../../gateway/console/run/project.js").NodeState} NodeState */

/** @type {[string, NodeState][]} */
const STATES = [
  ["a", { status: "complete", attempts: 1, reused: true }],
  ["a/inner", { status: "complete", attempts: 1, reused: true }],
  ["b", { status: "complete", attempts: 2 }],
  ["b/inner", { status: "complete", attempts: 1 }],
  ["skipped", { status: "skipped" }],
];

Deno.test("nodes were taken over or ran; those of groups count with their group", () => {
  const { reused, ran } = compare(new Map(STATES), null);
  assert.deepEqual([reused, ran], [["a"], ["b"]]);
});

Deno.test("what comes otherwise than announced is told, and nothing where nothing was announced", () => {
  const plan = (/** @type {string[]} */ reused, /** @type {string[]} */ runs) => ({ reused, runs, stale: [] });
  const nodes = new Map(STATES);
  const none = { ranInstead: [], reusedInstead: [] };
  assert.deepEqual(surprises(compare(nodes, plan(["a"], ["b"]))), none);
  assert.deepEqual(surprises(compare(nodes, null)), none);
  assert.deepEqual(surprises(compare(nodes, plan(["b"], ["a"]))), { ranInstead: ["b"], reusedInstead: ["a"] });
});

Deno.test("events come whole, however the network cuts their text", () => {
  const frame = (/** @type {number} */ seq) => `id: l:${seq}\nevent: X\ndata: {"seq":${seq},"text":"a\\n\\nb"}\n\n`;
  const whole = `retry: 1000\n\n${frame(1)}: still here\n\n${frame(2)}`;
  for (let cut = 0; cut <= whole.length; cut++) {
    const first = takeEvents(whole.slice(0, cut));
    const second = takeEvents(first.rest + whole.slice(cut));
    assert.deepEqual([...first.events, ...second.events].map(({ seq }) => seq), [1, 2]);
    assert.equal(second.rest, "");
  }
});
