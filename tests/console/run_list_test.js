// The list of runs: what is asked for, and what news does to it.
import { strict as assert } from "node:assert";
import { GatewaySocket } from "../../gateway/console/api/socket.js";
import { root, signal } from "../../gateway/console/lib/view.js";
import { forAll, suits } from "../../gateway/console/run/bulk.js";
import { fits, followRuns, queryOf, updated, updatedInPlace } from "../../gateway/console/run/run_list.js";
import { serving, until } from "./serving.js";

/** @param {string} promptId @param {string} status @param {string} workflowName @param {number} [day] */
const run = (promptId, status, workflowName, day = 1) => ({
  promptId,
  status,
  workflowName,
  submittedAt: new Date(2030, 0, day, 12).toISOString(),
});

Deno.test("a filter of the address is asked for, a day as the whole day of whoever looks", () => {
  const query = queryOf({
    status: "error",
    q: " x ",
    workflowId: "",
    since: "2030-01-02",
    until: "2030-01-02",
    node: "n",
  });
  assert.deepEqual(query, {
    status: "error",
    q: "x",
    since: new Date(2030, 0, 2).toISOString(),
    until: new Date(2030, 0, 3).toISOString(),
  });
  assert.deepEqual(queryOf({ since: "yesterday", until: "" }), {});
});

Deno.test("a run that is told fits as the gateway would list it", () => {
  const story = run("1A", "error", "Story", 2);
  /** @type {[Record<string, string>, boolean][]} */
  const cases = [
    [{}, true],
    [{ status: "error" }, true],
    [{ status: "complete" }, false],
    [{ status: "running,error" }, true],
    [{ status: "running,waiting" }, false],
    [{ q: "TOR" }, true],
    [{ q: "1a" }, true],
    [{ q: "chat" }, false],
    [{ workflowId: "story" }, false],
    [{ since: "2030-01-02", until: "2030-01-02" }, true],
    [{ since: "2030-01-03" }, false],
    [{ until: "2030-01-01" }, false],
  ];
  for (const [filters, is] of cases) assert.equal(fits(story, queryOf(filters)), is, JSON.stringify(filters));
});

Deno.test("news change the list in its place, newest first", () => {
  const runs = [run("c", "running", "C", 3), run("a", "running", "A", 1)];
  const all = { query: {}, hasMore: false };
  const ids = (/** @type {readonly { promptId: string }[]} */ list) => list.map(({ promptId }) => promptId).join("");
  assert.equal(ids(updated(runs, run("b", "queued", "B", 2), all)), "cba");
  assert.equal(ids(updated(runs, run("d", "queued", "D", 4), all)), "dca");
  assert.equal(ids(updated(runs, run("z", "queued", "Z", 0), all)), "caz");
  assert.equal(ids(updated(runs, run("z", "queued", "Z", 0), { ...all, hasMore: true })), "ca");
  assert.equal(updated(runs, run("a", "complete", "A", 1), all)[1]?.status, "complete");
  assert.equal(ids(updated(runs, run("a", "complete", "A", 1), { ...all, query: { status: "running" } })), "c");
  assert.equal(ids(updated(runs, { promptId: "c", deleted: true }, all)), "a");
  assert.equal(updated(runs, { promptId: "none", deleted: true }, all), runs);
});

Deno.test("what goes on can be stopped, what has ended deleted and run again", () => {
  const states = ["queued", "paused", "interrupting", "complete", "error"];
  const fitting = (/** @type {import("../../gateway/console/run/bulk.js").Action} */ action) =>
    states.filter((status) => suits(action, run("r", status, "R")));
  assert.deepEqual(fitting("stop"), ["queued", "paused"]);
  assert.deepEqual(fitting("delete"), ["complete", "error"]);
  assert.deepEqual(fitting("rerun"), ["complete", "error"]);
});

Deno.test("one that fails keeps no other from its turn, and only a few are at work", async () => {
  let [now, most] = [0, 0];
  const ids = Array.from({ length: 20 }, (_, index) => String(index));
  const { done, failed } = await forAll(ids, async (id) => {
    most = Math.max(most, ++now);
    await new Promise((resolve) => setTimeout(resolve, 1));
    now--;
    if (id === "3") throw new Error("no");
  });
  assert.equal(done.length, 19);
  assert.deepEqual(failed.map(({ id }) => id), ["3"]);
  assert.ok(most > 1 && most <= 4, `${most} at once`);
});

Deno.test("while somebody points at the list, nothing in it moves, and what waits is known", () => {
  const runs = [run("c", "running", "C", 3), run("a", "running", "A", 1)];
  const query = { status: "running" };
  const ids = (/** @type {readonly { promptId: string }[]} */ list) => list.map(({ promptId }) => promptId).join("");
  /** @type {[import("../../gateway/console/run/store.js").RunSummary | { promptId: string, deleted: true }, boolean][]} */
  const cases = [
    [run("d", "running", "D", 4), true],
    [run("d", "complete", "D", 4), false],
    [run("a", "running", "A", 1), false],
    [run("a", "complete", "A", 1), true],
    [{ promptId: "c", deleted: true }, true],
    [{ promptId: "x", deleted: true }, false],
  ];
  for (const [told, isBehind] of cases) {
    const now = updatedInPlace(runs, told, query);
    assert.equal(ids(now.runs), "ca");
    assert.equal(now.isBehind, isBehind, JSON.stringify(told));
  }
  assert.equal(updatedInPlace(runs, run("a", "complete", "A", 1), query).runs[1]?.status, "complete");
});

Deno.test("a list does not grow without end, holds still while it must, and is asked for again after a failure", async () => {
  let [asked, last] = [0, 0];
  const body = () =>
    ++asked === 1 ? new Response("<html>", { status: 503 }) : { runs: [run("old", "complete", "Old")] };
  let send = (/** @type {string} */ _text) => {};
  /** @param {number} times */
  const come = (times) => {
    for (let each = 0; each < times; each++) {
      const payload = { run: run(`run ${++last}`, "running", "New", 2) };
      send(JSON.stringify({ seq: null, ts: 0, type: "RUN_UPDATE", payload }));
    }
  };
  await serving((socket) => void (send = (text) => socket.send(text)), async ({ url }) => {
    Object.assign(globalThis, { document: { baseURI: url.href.replace("ws:", "http:").replace(/ws$/, "") } });
    const socket = new GatewaySocket({ address: () => new URL(url), ticket: () => Promise.resolve(null) });
    const isHeld = signal(false);
    const { list, end } = root((dispose) => ({
      list: followRuns(socket, () => ({}), () => isHeld.value),
      end: dispose,
    }));
    await socket.connect();
    const count = () => list.runs.peek()?.length ?? 0;
    await until(() => count() === 1);
    come(100);
    await until(() => count() === 101);
    isHeld.value = true;
    come(300);
    await until(() => list.isBehind.peek());
    assert.equal(count(), 101);
    isHeld.value = false;
    await until(() => count() === 1 && !list.isBehind.peek());
    come(300);
    await until(() => asked === 4);
    await until(() => count() < 300);
    end();
    socket.close();
  }, body);
});
