// A run, followed: what its watchers are told when the log is not what it was.
import { strict as assert } from "node:assert";
import { GatewaySocket } from "../../gateway/console/api/socket.js";
import { RunStore } from "../../gateway/console/run/store.js";
import { notice, serving, until } from "./serving.js";

/** @typedef {import("./serving.js").Answer} Answer */

/** @param {number} seq @param {string} nodeId */
const begun = (seq, nodeId) =>
  JSON.stringify({ seq, ts: 0, type: "NODE_EXECUTING", payload: { promptId: "r", nodeId, attempt: 1 } });

/** @param {number} seq @param {string} status */
const state = (seq, status) =>
  JSON.stringify({ seq, ts: 0, type: "EXECUTION_STATUS_UPDATE", payload: { promptId: "r", status } });

/** A canvas that writes down what it is told. */
function recorder() {
  /** @type {string[]} */
  const told = [];
  return {
    told,
    element: /** @type {HTMLElement} */ ({}),
    show: (/** @type {readonly string[]} */ paths) => void told.push(`show ${paths.join()}`),
    add: (/** @type {string} */ path) => void told.push(`add ${path}`),
    touch: (/** @type {string} */ path) => void told.push(`touch ${path}`),
    select: () => {},
    fit: () => {},
  };
}

/**
 * @param {Answer} answer
 * @param {Record<string, unknown>} status
 * @param {(store: RunStore, served: import("./serving.js").Served) => Promise<void>} use
 */
async function following(answer, status, use) {
  const body = (/** @type {string} */ path) => path === "/api/prompt/r" ? status : {};
  await serving(answer, async (served) => {
    const page = { hidden: true, baseURI: served.url.href.replace("ws:", "http:").replace(/ws$/, "") };
    Object.assign(globalThis, { document: page });
    const ticket = () => Promise.resolve(null);
    const socket = new GatewaySocket({ address: () => new URL(served.url), ticket, random: () => 0 });
    const store = new RunStore("r", socket);
    await socket.connect();
    try {
      await use(store, served);
    } finally {
      store.close();
      socket.close();
    }
  }, body);
}

Deno.test("a run that has no event yet is shown by its status, and followed as soon as it has", async () => {
  let times = 0;
  /** @type {Answer} */
  const answer = (socket, { type }) => {
    if (type !== "SUBSCRIBE") return;
    if (++times === 1) socket.send(notice("error", { code: "run_not_found", message: "no events" }));
    else {for (const frame of [notice("SUBSCRIBED", { logId: "l", after: 0, lastSeq: 1 }), state(1, "complete")]) {
        socket.send(frame);
      }}
  };
  const status = { promptId: "r", status: "queued", nodeStatus: {}, outputs: {}, submittedAt: "2030" };
  await following(answer, status, async (store) => {
    await until(() => store.status.peek() === "queued");
    await until(() => store.status.peek() === "complete");
    assert.equal(store.problem.peek(), null);
  });
});

Deno.test("a log that has lost its end is read anew, and so are its nodes", async () => {
  const canvas = recorder();
  let breakOff = () => {};
  /** @type {Answer} */
  const answer = (socket, { type, payload }, connection) => {
    if (type !== "SUBSCRIBE") return;
    breakOff = () => socket.close(4408);
    if (connection === 2 && payload.after !== 0) {
      socket.send(notice("error", { code: "after_beyond_end", message: "fewer events" }));
      return;
    }
    socket.send(notice("SUBSCRIBED", { logId: "l", after: payload.after, lastSeq: 2 }));
    for (const frame of [begun(1, "a"), begun(2, connection === 1 ? "b" : "c")]) socket.send(frame);
  };
  await following(answer, {}, async (store, { asked }) => {
    store.watch(canvas);
    await until(() => canvas.told.includes("add b"));
    assert.ok(store.isCaughtUp.peek());
    store.view.lastSeq = 9; // as if more had come
    breakOff();
    await until(() => canvas.told.includes("add c"));
    assert.deepEqual(canvas.told, ["show ", "add a", "add b", "show ", "add a", "add c"]);
    assert.deepEqual([...store.timeline.nodes.keys()], ["a", "c"]);
    assert.deepEqual(asked.map((one) => one.payload.after), [0, 9, 0]);
  });
});

Deno.test("now is now by the gateway's clock, whatever ours says", async () => {
  const hour = 3_600_000;
  /** @type {Answer} */
  const answer = (socket, { type }) => {
    if (type !== "SUBSCRIBE") return;
    const told = JSON.parse(notice("SUBSCRIBED", { logId: "l", after: 0, lastSeq: 1 }));
    socket.send(JSON.stringify({ ...told, ts: Date.now() + hour }));
    socket.send(begun(1, "a"));
  };
  await following(answer, {}, async (store) => {
    await until(() => store.lastSeq.peek() === 1);
    const ahead = store.now() - Date.now();
    assert.ok(Math.abs(ahead - hour) < 1000, `${ahead} ms ahead`);
  });
});
