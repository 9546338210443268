// The fold of a run's events. `test_project.py` compares it with the gateway's own.
import { strict as assert } from "node:assert";
import { apply, KEPT_CHARACTERS, project, RunView } from "../../gateway/console/run/project.js";
import { told } from "./views.js";

/** @typedef {import("../../gateway/console/run/project.js").RunEvent} RunEvent */

const LOGS = new URL("logs/", import.meta.url);

for (const { name } of Deno.readDirSync(LOGS)) {
  Deno.test(`the log of a real run gives what the gateway makes of it: ${name}`, () => {
    const { events, view } = JSON.parse(Deno.readTextFileSync(new URL(name, LOGS)));
    assert.deepEqual(JSON.parse(JSON.stringify(told(project(events)))), view);
  });
}

/** @param {number} seq @param {string} type @param {Record<string, unknown>} payload @returns {RunEvent} */
const event = (seq, type, payload) => ({ seq, ts: 0, type, payload });

/** @param {number} seq @param {string} content @param {string} [node] */
const chunk = (seq, content, node = "n") =>
  event(seq, "NODE_YIELD", { sourceNodeId: node, yieldedContent: { type: "text_chunk", content }, isLastChunk: false });

Deno.test("an event that was seen changes nothing", () => {
  const view = new RunView();
  assert.equal(apply(view, chunk(1, "a")), "n");
  assert.equal(apply(view, chunk(1, "a")), null);
  assert.equal(view.streams.get("n")?.text, "a");
});

Deno.test("a stream that begins anew drops what came before", () => {
  const reset = event(3, "NODE_STREAM_RESET", { nodeId: "n", attempt: 2 });
  const view = project([chunk(1, "a"), chunk(2, "b"), reset, chunk(4, "c")]);
  assert.deepEqual(view.streams.get("n"), { text: "c", epoch: 1, isCut: false });
});

Deno.test("outputs of the run have streams of their own", () => {
  const yielded = (/** @type {number} */ seq, /** @type {string} */ content) =>
    event(seq, "WORKFLOW_INTERFACE_YIELD", {
      interfaceOutputKey: "story",
      yieldedContent: { type: "text_chunk", content },
    });
  const reset = event(2, "WORKFLOW_INTERFACE_RESET", { interfaceOutputKey: "story", attempt: 2 });
  const view = project([yielded(1, "a"), reset, yielded(3, "b")]);
  assert.equal(view.outputStreams.get("story")?.text, "b");
});

Deno.test("only text is text: the end of a stream and other chunks add nothing", () => {
  const other = event(2, "NODE_YIELD", {
    sourceNodeId: "n",
    yieldedContent: { type: "finish_reason_chunk", content: "" },
  });
  const data = event(3, "NODE_YIELD", { sourceNodeId: "n", yieldedContent: { type: "text_chunk", content: { a: 1 } } });
  assert.equal(project([chunk(1, "a"), other, data]).streams.get("n")?.text, "a");
});

Deno.test("of a very long text the end is kept, and of one with a gap it is known", () => {
  const piece = "x".repeat(KEPT_CHARACTERS);
  const view = project([chunk(1, piece), chunk(2, piece), chunk(3, "end")]);
  const stream = view.streams.get("n");
  assert.equal(stream?.text.length, KEPT_CHARACTERS);
  assert.ok(stream?.text.endsWith("xend"));
  assert.ok(stream.isCut && stream.epoch === 1);
  const halved = project([chunk(1, `${piece}x${"\u{1f642}".repeat(KEPT_CHARACTERS / 2)}y`)]);
  assert.ok(halved.streams.get("n")?.text.isWellFormed());
  const gap = event(2, "NODE_YIELD", { sourceNodeId: "n", gap: { from: 1, to: 9 }, isLastChunk: false });
  assert.ok(project([chunk(1, "a"), gap]).streams.get("n")?.isCut);
});
