// Times of nodes, folded from events.
import { strict as assert } from "node:assert";
import {
  idle,
  isShown,
  queued,
  record,
  scaleOf,
  sourcesOf,
  Timeline,
  timelineOf,
} from "../../gateway/console/run/timeline.js";

/** @param {[number, string, Record<string, unknown>][]} events Moment, type, payload. */
function recorded(events) {
  const timeline = new Timeline();
  events.forEach(([ts, type, payload], index) => record(timeline, { seq: index + 1, ts, type, payload }));
  return timeline;
}

/** @param {Timeline} timeline @param {string} path */
const told = (timeline, path) =>
  timeline.nodes.get(path)?.spans.map(({ kind, begin, end, attempt, outcome }) => [kind, begin, end, attempt, outcome]);

/** @param {string} nodeId @param {number} attempt */
const begun = (nodeId, attempt = 1) => ({ nodeId, attempt });
/** @type {[number, string, Record<string, unknown>]} */
const RUNNING = [0, "EXECUTION_STATUS_UPDATE", { status: "running" }];

Deno.test("an attempt that fails says why, and the next one begins after its wait", () => {
  const failure = { code: "overloaded_error", message: "busy", details: { status: 529 } };
  const again = { nodeId: "n", attempt: 1, kind: "retry", reason: "failure 1 of 4", nextAttemptAt: "2030" };
  const timeline = recorded([
    RUNNING,
    [5, "NODE_EXECUTING", begun("n")],
    [9, "NODE_RETRY", { ...again, code: failure.code, message: failure.message, errorDetails: failure }],
    [20, "NODE_EXECUTING", begun("n", 2)],
    [31, "NODE_COMPLETE", { nodeId: "n", output: {} }],
    [32, "NODE_COMPLETE", { nodeId: "__WORKFLOW_INTERFACE_OUTPUTS__", output: {} }],
  ]);
  assert.deepEqual(told(timeline, "n"), [
    ["attempt", 5, 9, 1, "failed"],
    ["retry", 9, 20, 1, undefined],
    ["attempt", 20, 31, 2, "complete"],
  ]);
  assert.deepEqual([...timeline.nodes.keys()], ["n"], "the outputs of the run are no node");
  const [first, pause] = timeline.nodes.get("n")?.spans ?? [];
  assert.deepEqual(first?.failure, failure);
  assert.deepEqual([pause?.reason, pause?.until], ["failure 1 of 4", "2030"]);
});

Deno.test("an attempt whose worker was killed is lost when the next one begins, and one told twice is one", () => {
  const timeline = recorded([
    [5, "NODE_EXECUTING", begun("n")],
    [6, "NODE_EXECUTING", begun("n")],
    [20, "NODE_EXECUTING", begun("n", 2)],
  ]);
  assert.deepEqual(told(timeline, "n"), [["attempt", 5, 20, 1, "lost"], ["attempt", 20, null, 2, undefined]]);
});

Deno.test("a wait for somebody is no work, and nothing follows the end", () => {
  const timeline = recorded([
    [1, "NODE_EXECUTING", begun("ask")],
    [2, "APPROVAL_REQUIRED", { nodeId: "ask", kind: "approval", until: null }],
    [50, "APPROVAL_ANSWERED", { nodeId: "ask" }],
    [51, "NODE_COMPLETE", { nodeId: "ask", output: {} }],
    [60, "NODE_EXECUTING", begun("ask", 2)],
  ]);
  assert.deepEqual(told(timeline, "ask"), [
    ["attempt", 1, 2, 1, "wait"],
    ["wait", 2, 50, 1, undefined],
    ["attempt", 50, 51, 1, "complete"],
  ]);
  assert.deepEqual(idle(timeline, { begin: 0, end: 60 }), [
    { begin: 0, end: 1 },
    { begin: 2, end: 50 },
    { begin: 51, end: 60 },
  ]);
});

Deno.test("a clock that was set back gives no time below zero", () => {
  const timeline = recorded([[100, "NODE_EXECUTING", begun("n")], [40, "NODE_COMPLETE", { nodeId: "n" }]]);
  assert.deepEqual(told(timeline, "n"), [["attempt", 100, 100, 1, "complete"]]);
});

Deno.test("a node queues from the end of all that it needs; one that reads a stream does not", () => {
  const timeline = recorded([
    RUNNING,
    [3, "NODE_EXECUTING", begun("a")],
    [10, "NODE_COMPLETE", { nodeId: "a" }],
    [12, "NODE_COMPLETE", { nodeId: "b" }],
    [30, "NODE_EXECUTING", begun("c")],
    [9, "NODE_EXECUTING", begun("reader")],
  ]);
  const edges = [{ sourceNodeId: "a", targetNodeId: "c" }, { sourceNodeId: "b", targetNodeId: "c" }];
  const sources = sourcesOf({ nodes: [{ id: "a" }, { id: "b" }, { id: "c" }], edges });
  assert.deepEqual(queued(timeline, "c", sources.get("c")), { begin: 12, end: 30 });
  assert.deepEqual(queued(timeline, "a", sources.get("a")), { begin: 0, end: 3 });
  assert.equal(queued(timeline, "reader", ["a"]), null);
  assert.equal(queued(timeline, "c", undefined), null);
});

Deno.test("long times without work are shown short, and the order of moments stays", () => {
  const timeline = recorded([
    RUNNING,
    [0, "NODE_EXECUTING", begun("a")],
    [1000, "NODE_COMPLETE", { nodeId: "a" }],
    [3_601_000, "NODE_EXECUTING", begun("b")],
    [3_602_000, "NODE_COMPLETE", { nodeId: "b" }],
    [3_602_000, "EXECUTION_STATUS_UPDATE", { status: "complete" }],
  ]);
  const plain = scaleOf(timeline, 0, { isCollapsed: false });
  const short = scaleOf(timeline, 0, { isCollapsed: true });
  assert.ok(plain.at(1000) < 0.001);
  assert.deepEqual(short.gaps, [{ begin: 1000, end: 3_601_000 }]);
  assert.ok(short.at(1000) > 0.45 && short.at(3_601_000) < 0.55);
  const moments = [0, 500, 1000, 60_000, 3_000_000, 3_601_000, 3_602_000];
  const places = moments.map(short.at);
  assert.deepEqual(places, [...places].sort((one, other) => one - other));
  assert.deepEqual([places[0], places.at(-1)], [0, 1]);
});

Deno.test("a run that goes on ends now, and one without any event is a moment", () => {
  const timeline = recorded([RUNNING, [5, "NODE_EXECUTING", begun("n")]]);
  assert.equal(scaleOf(timeline, 100, { isCollapsed: false }).end, 100);
  assert.equal(scaleOf(new Timeline(), 7, { isCollapsed: true }).at(7), 0);
});

Deno.test("failed are nodes that failed once, waiting those that wait now", () => {
  const again = { nodeId: "n", attempt: 1, kind: "retry", code: "c", message: "m", nextAttemptAt: "2030" };
  const timeline = recorded([[1, "NODE_EXECUTING", begun("n")], [2, "NODE_RETRY", again]]);
  const node = timeline.node("n");
  assert.deepEqual(["", "failed", "waiting"].map((cut) => isShown(node, { status: "running" }, cut)), [
    true,
    true,
    true,
  ]);
  record(timeline, { seq: 9, ts: 3, type: "NODE_EXECUTING", payload: begun("n", 2) });
  assert.deepEqual(["failed", "waiting"].map((cut) => isShown(node, { status: "running" }, cut)), [true, false]);
  assert.ok(!isShown(timeline.node("other"), { status: "complete" }, "failed"));
});

Deno.test("of a run whose events are gone its nodes' begins and ends are left", () => {
  const at = (/** @type {number} */ second) => new Date(second * 1000).toISOString();
  const error = { code: "c", message: "m" };
  const timeline = timelineOf({
    status: "error",
    startedAt: at(1),
    completedAt: at(9),
    nodeStatus: {
      n: { status: "error", startedAt: at(2), endedAt: at(5), attempts: 3, error },
      skipped: { status: "skipped", endedAt: at(6) },
    },
  });
  assert.deepEqual(told(timeline, "n"), [["attempt", 2000, 5000, 3, "error"]]);
  assert.deepEqual(told(timeline, "skipped"), []);
  assert.deepEqual([timeline.begin, timeline.last, timeline.isOver], [1000, 9000, true]);
});
