// The socket against a real server that breaks off: it comes back where it was, once.
import { strict as assert } from "node:assert";
import { GatewaySocket, pauseMs } from "../../gateway/console/api/socket.js";
import { notice, serving, until } from "./serving.js";

/** @typedef {import("./serving.js").Answer} Answer */

/** @param {number} seq */
const event = (seq) => ({ seq, ts: 0, type: "NODE_PROGRESS", payload: { promptId: "r", nodeId: "n" } });

/** @param {string} logId @param {number} after */
const subscribed = (logId, after) => notice("SUBSCRIBED", { logId, after, lastSeq: 9 });

/** A follower that writes down what it gets. */
function follower() {
  const seen = { seqs: /** @type {number[]} */ ([]), restarts: 0, refused: "" };
  return {
    seen,
    lastSeq: () => seen.seqs.at(-1) ?? 0,
    restart: () => {
      seen.restarts++;
      seen.seqs = [];
    },
    receive: (/** @type {{ seq: number }[]} */ events) => void seen.seqs.push(...events.map((one) => one.seq)),
    refuse: (/** @type {string} */ code) => void (seen.refused = code),
  };
}

/** @param {URL} url @param {Partial<import("../../gateway/console/api/socket.js").SocketOptions>} [more] */
function socketTo(url, more = {}) {
  return new GatewaySocket({
    address: () => new URL(url),
    ticket: () => Promise.resolve(null),
    random: () => 0,
    ...more,
  });
}

Deno.test("after 4408, 1012 and a break it goes on behind the last event, in the same log", async () => {
  /** @type {Answer} */
  const answer = (socket, { type, payload }, connection) => {
    if (type !== "SUBSCRIBE") return;
    const after = Number(payload.after);
    socket.send(subscribed("log", after));
    socket.send(JSON.stringify([event(after + 1), event(after + 2)]));
    if (connection < 3) socket.close(connection === 1 ? 4408 : 3000, "");
  };
  await serving(answer, async ({ url, asked }) => {
    const socket = socketTo(url);
    const reader = follower();
    socket.follow("r", reader);
    await socket.connect();
    await until(() => reader.seen.seqs.length === 6);
    assert.deepEqual(reader.seen.seqs, [1, 2, 3, 4, 5, 6]);
    assert.deepEqual(asked.map((one) => [one.payload.after, one.payload.logId]), [[0, undefined], [2, "log"], [
      4,
      "log",
    ]]);
    assert.equal(reader.seen.restarts, 0);
    assert.equal(socket.state.value, "open");
    socket.close();
  });
});

Deno.test("with another log the follower starts over", async () => {
  /** @type {Answer} */
  const answer = (socket, { payload }, connection) => {
    const after = connection === 1 ? Number(payload.after) : 0;
    socket.send(subscribed(`log ${connection}`, after));
    socket.send(JSON.stringify(event(after + 1)));
    if (connection === 1) socket.close(4408, "");
  };
  await serving(answer, async ({ url }) => {
    const socket = socketTo(url);
    const reader = follower();
    socket.follow("r", reader);
    await socket.connect();
    await until(() => reader.seen.restarts === 1 && reader.seen.seqs.length === 1);
    socket.close();
  });
});

Deno.test("a ticket is asked for anew each time, also when it was too old; without one a refusal ends the attempts", async () => {
  /** @type {Answer} */
  const answer = (socket, _message, connection) => socket.close(connection === 1 ? 1012 : 4401, "");
  await serving(answer, async ({ url, addresses }) => {
    let tickets = 0;
    let isRefused = false;
    const ticket = () => Promise.resolve(++tickets < 3 ? `t${tickets}` : null);
    const socket = socketTo(url, { ticket, tokenRefused: () => (isRefused = true) });
    socket.follow("r", follower());
    await socket.connect();
    await until(() => isRefused);
    await new Promise((resolve) => setTimeout(resolve, 600));
    assert.deepEqual(addresses, ["?ticket=t1", "?ticket=t2", ""]);
    assert.equal(socket.state.value, "refused");
  });
});

Deno.test("a run that is not there is told to its follower, notices to those who listen", async () => {
  /** @type {Answer} */
  const answer = (socket) => {
    socket.send(notice("error", { code: "run_not_found", message: "no" }));
    socket.send(notice("SYSTEM_QUEUE_UPDATE", { runningExecutions: 1 }));
  };
  await serving(answer, async ({ url }) => {
    const socket = socketTo(url);
    const reader = follower();
    /** @type {string[]} */
    const heard = [];
    socket.listen((frame) => heard.push(frame.type));
    socket.follow("r", reader);
    await socket.connect();
    await until(() => heard.length === 1);
    assert.equal(reader.seen.refused, "run_not_found");
    assert.deepEqual(heard, ["SYSTEM_QUEUE_UPDATE"]);
    socket.close();
  });
});

Deno.test("who stopped following gets nothing more", async () => {
  /** @type {Answer} */
  const answer = (socket, { type }) => {
    if (type === "SUBSCRIBE") socket.send(subscribed("log", 0));
    else socket.send(JSON.stringify(event(1)));
  };
  await serving(answer, async ({ url, asked }) => {
    const socket = socketTo(url);
    const reader = follower();
    const end = socket.follow("r", reader);
    await socket.connect();
    await until(() => asked.length === 1);
    end();
    await until(() => asked.length === 2);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(reader.seen.seqs, []);
    socket.close();
  });
});

Deno.test("pauses grow from a quarter of a second to five", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 20].map((attempt) => pauseMs(attempt, 1006, 1)), [
    250,
    500,
    1000,
    2000,
    4000,
    5000,
    5000,
  ]);
  assert.equal(pauseMs(0, 1006, 0), 250);
  assert.equal(pauseMs(0, 4429, 1), 5000);
});

Deno.test("who watches the list of runs hears of it again after a break", async () => {
  /** @type {Answer} */
  const answer = (socket, { type, payload }, connection) => {
    if (type !== "SUBSCRIBE" || payload.runs !== true) return;
    socket.send(JSON.stringify({ seq: null, ts: 0, type: "APPROVALS_UPDATE", payload: { open: connection } }));
    if (connection === 1) socket.close(4408, "");
  };
  await serving(answer, async ({ url }) => {
    const socket = socketTo(url);
    /** @type {unknown[]} */
    const told = [];
    socket.listen((frame) => void told.push(frame.payload.open));
    socket.watchRuns();
    await socket.connect();
    await until(() => told.length === 2);
    assert.deepEqual(told, [1, 2]);
    socket.close();
  });
});

Deno.test("a connection that leads nowhere is given up, and the picture is as old as what was heard last", async () => {
  /** @type {Answer} */
  const answer = (socket, { type }, connection) => {
    if (type === "SUBSCRIBE") socket.send(subscribed("log", 0));
    if (type === "PING" && connection === 2) {
      socket.send(JSON.stringify({ seq: null, ts: 1, type: "PONG", payload: {} }));
    }
  };
  await serving(answer, async ({ url, asked, addresses }) => {
    const socket = socketTo(url, { pingMs: 20, silenceMs: 300 });
    socket.follow("r", follower());
    const begin = Date.now();
    await socket.connect();
    await until(() => socket.state.value === "away");
    assert.ok(Date.now() - socket.lostAt.value >= 250, "the picture is told to be newer than it is");
    assert.ok(socket.lostAt.value >= begin);
    await until(() => socket.state.value === "open");
    const pings = () => asked.filter(({ type }) => type === "PING").length;
    const before = pings();
    await until(() => pings() > before + 20);
    assert.equal(socket.state.value, "open");
    assert.equal(addresses.length, 2);
    socket.close();
  });
});

Deno.test("a ticket that does not come is not waited for, and opens nothing when it comes late", async () => {
  await serving(() => {}, async ({ url, addresses }) => {
    /** @type {((ticket: string) => void)[]} */
    const waiting = [];
    const ticket = () =>
      waiting.length === 1 ? Promise.resolve("second") : new Promise((resolve) => void waiting.push(resolve));
    const socket = socketTo(url, { ticket, pingMs: 20, silenceMs: 100 });
    socket.connect();
    await until(() => socket.state.value === "open");
    waiting.forEach((resolve) => resolve("first"));
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(addresses, ["?ticket=second"]);
    socket.close();
  });
});
