// A run, followed: what its watchers are told when the log is not what it was.
import { strict as assert } from "node:assert";
import { GatewaySocket } from "../../gateway/console/api/socket.js";
import { now } from "../../gateway/console/lib/clock.js";
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
 * @param {() => unknown} status The answer to GET /api/prompt/r.
 * @param {(store: RunStore, served: import("./serving.js").Served) => Promise<void>} use
 */
async function following(answer, status, use) {
  const body = (/** @type {string} */ path) => path === "/api/prompt/r" ? status() : {};
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
  await following(answer, () => status, async (store) => {
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
  await following(answer, () => ({}), async (store, { asked }) => {
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

Deno.test("an answer that comes late does not put the run back to where it was", async () => {
  /** @type {((status: unknown) => void)[]} */
  const questions = [];
  const body = () => new Promise((resolve) => void questions.push(resolve));
  /** @type {Answer} */
  const answer = (socket, { type }) => {
    if (type !== "SUBSCRIBE") return;
    socket.send(notice("SUBSCRIBED", { logId: "l", after: 0, lastSeq: 1 }));
    socket.send(state(1, "complete"));
  };
  await following(answer, body, async (store) => {
    await until(() => questions.length >= 2 && store.status.peek() === "complete");
    const [first, ...others] = questions;
    others.forEach((resolve) => resolve({ status: "complete", outputs: { said: "all" }, nodeStatus: {} }));
    await until(() => store.summary.peek()?.status === "complete");
    first?.({ status: "running", outputs: {}, nodeStatus: {} });
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(store.summary.peek()?.outputs, { said: "all" });
  });
});

Deno.test("what the gateway could not say at the end is asked for again", async () => {
  let isOver = false;
  let times = 0;
  const body = () => {
    if (!isOver) return { status: "running", outputs: {}, nodeStatus: {} };
    const html = new Response("<html>", { status: ++times === 1 ? 503 : 200 });
    return times <= 2 ? html : { status: "complete", outputs: { said: "all" }, nodeStatus: {} };
  };
  /** @type {Answer} */
  const answer = (socket, { type }) => {
    if (type !== "SUBSCRIBE") return;
    socket.send(notice("SUBSCRIBED", { logId: "l", after: 0, lastSeq: 1 }));
    setTimeout(() => {
      isOver = true;
      socket.send(state(1, "complete"));
    }, 50);
  };
  await following(answer, body, async (store) => {
    await until(() => store.summary.peek()?.status === "running");
    await until(() => store.summary.peek()?.outputs.said === "all");
  });
});

Deno.test("a log that cannot be read for a moment is followed on, and no text is cut", async () => {
  let times = 0;
  /** @type {Answer} */
  const answer = (socket, { type, payload }) => {
    if (type !== "SUBSCRIBE") return;
    if (++times === 2) {
      socket.send(notice("error", { code: "event_log_unavailable", message: "busy" }));
      return;
    }
    socket.send(notice("SUBSCRIBED", { logId: "l", after: payload.after, lastSeq: 2 }));
    socket.send(times === 1 ? begun(1, "a") : state(2, "complete"));
    if (times === 1) socket.close(4408);
  };
  const status = { promptId: "r", status: "complete", nodeStatus: { b: {} }, outputs: {}, submittedAt: "2030" };
  await following(answer, () => status, async (store, { asked }) => {
    await until(() => store.status.peek() === "complete");
    assert.deepEqual([...store.view.nodes.keys()], ["a"]);
    assert.deepEqual(asked.map((one) => one.payload.after), [0, 1, 1]);
  });
});

Deno.test("a run that is deleted while it is open is told so, and another one is not", async () => {
  let tell = (/** @type {string} */ _id) => {};
  /** @type {Answer} */
  const answer = (socket, { type }) => {
    if (type !== "SUBSCRIBE") return;
    tell = (id) => socket.send(notice("RUN_UPDATE", { promptId: "", run: { promptId: id, deleted: true } }));
    socket.send(notice("SUBSCRIBED", { logId: "l", after: 0, lastSeq: 1 }));
    socket.send(state(1, "complete"));
  };
  await following(answer, () => ({ status: "complete", outputs: {}, nodeStatus: {} }), async (store) => {
    await until(() => store.status.peek() === "complete");
    tell("other");
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(store.problem.peek(), null);
    tell("r");
    await until(() => store.problem.peek() !== null);
    assert.equal(store.status.peek(), "complete", "what is shown is all that is left");
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
  await following(answer, () => ({}), async (store) => {
    await until(() => store.lastSeq.peek() === 1);
    const ahead = now() - Date.now();
    assert.ok(Math.abs(ahead - hour) < 1000, `${ahead} ms ahead`);
  });
});
