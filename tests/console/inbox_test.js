// Approvals, triggers and usage: what is decided without a browser.
import { GatewaySocket } from "../../gateway/console/api/socket.js";
import { followOpenApprovals, openCount } from "../../gateway/console/run/open_count.js";
import { serving, until } from "./serving.js";
import { strict as assert } from "node:assert";
import { duration, money } from "../../gateway/console/lib/format.js";
import { amountWords, leastWords, neededAmounts } from "../../gateway/console/pages/approval_budget.js";
import { parseJson } from "../../gateway/console/lib/json.js";
import { deadlineWords } from "../../gateway/console/pages/approval_card.js";
import { nameOf } from "../../gateway/console/pages/run_row.js";
import { startsWhen } from "../../gateway/console/pages/triggers.js";
import { barLengths, costWords, usageQuery } from "../../gateway/console/pages/usage.js";
import {
  ended,
  fieldComplaint,
  isSameAnswer,
  keyOf,
  merged,
  outcomeOf,
  presentValues,
} from "../../gateway/console/run/approvals.js";

/** @typedef {import("../../gateway/console/run/approvals.js").Approval} Approval */

/** @param {string} id @param {Partial<Approval>} [more] @returns {Approval} */
function approval(id, more = {}) {
  const asked = { promptId: "r", nodeId: id, approvalId: id, kind: "approval", status: "open", until: null };
  return { ...asked, form: [], data: null, requiredAt: "2030-01-31T10:00:00.000Z", ...more };
}

/** @param {readonly import("../../gateway/console/run/approvals.js").Entry[]} entries */
const told = (entries) => entries.map(({ asked, outcome }) => `${asked.approvalId}:${outcome?.kind ?? "open"}`);

Deno.test("what ends keeps its place, and what is new comes behind it", () => {
  const [a, b, c] = [approval("a"), approval("b"), approval("c")];
  const first = merged([], [a, b], 1);
  assert.deepEqual(first.missing, []);
  const second = merged(first.entries, [c, b], 2);
  assert.deepEqual(told(second.entries), ["a:open", "b:open", "c:open"]);
  assert.deepEqual(second.missing, [a]);
  assert.equal(second.entries[1], first.entries[1], "what stays as it is must not be drawn again");
  const third = ended(second.entries, keyOf(a), { kind: "timedOut" }, 3);
  assert.deepEqual(told(merged(third, [c, b], 4).entries), ["a:timedOut", "b:open", "c:open"]);
  assert.deepEqual(merged(third, [c, b], 4).missing, []);
});

Deno.test("a list that was asked for before an answer does not open it again, a later one does", () => {
  const a = approval("a");
  const answered = ended(merged([], [a], 1).entries, keyOf(a), { kind: "answered" }, 5);
  assert.deepEqual(told(merged(answered, [a], 4).entries), ["a:answered"]);
  assert.deepEqual(told(merged(answered, [a], 6).entries), ["a:open"]);
});

Deno.test("a node that asks again asks something else", () => {
  const before = approval("a");
  const again = approval("a", { requiredAt: "2030-01-31T11:00:00.000Z" });
  assert.deepEqual(told(merged(merged([], [before], 1).entries, [again], 2).entries), ["a:open", "a:open"]);
  assert.deepEqual(outcomeOf(before, again), { kind: "askedAgain" });
});

Deno.test("what became of an approval", () => {
  const until = "2030-01-31T10:05:00.000000+00:00";
  const asked = approval("a", { until });
  assert.equal(outcomeOf(asked, asked), null);
  assert.deepEqual(outcomeOf(asked, undefined), { kind: "gone" });
  const answer = { approved: false, comment: "no" };
  const answered = { ...asked, status: "answered", answer, answeredAt: "2030-01-31T10:01:00.000Z" };
  assert.deepEqual(outcomeOf(asked, answered), { kind: "answered", answer, at: "2030-01-31T10:01:00.000Z" });
  const closed = (/** @type {string} */ closedAt) => outcomeOf(asked, { ...asked, status: "closed", closedAt })?.kind;
  assert.equal(closed("2030-01-31T10:05:00.040Z"), "timedOut");
  assert.equal(closed("2030-01-31T10:02:00.000Z"), "closed");
  assert.equal(outcomeOf(approval("a"), approval("a", { status: "closed", closedAt: until }))?.kind, "closed");
});

Deno.test("a form shows the fields of an object, and the field 'data' of anything else", () => {
  const slots = ["title", "__proto__", "data"].map((key) => ({ key, dataFlowType: "STRING" }));
  const data = JSON.parse('{"title": "a", "__proto__": "b", "other": "c"}');
  assert.deepEqual([...presentValues(slots, data)], [["title", "a"], ["__proto__", "b"]]);
  assert.deepEqual([...presentValues(slots, ["x"])], [["data", ["x"]]]);
  assert.deepEqual([...presentValues(slots, null)], []);
});

Deno.test("an answer that counted without our hearing of it is known as ours", () => {
  const sent = { approved: true, values: { a: 1 }, comment: "fine" };
  assert.ok(isSameAnswer(sent, { approved: true, values: { a: 1, b: "a default" }, comment: "fine" }));
  assert.ok(isSameAnswer({ approved: false }, { approved: false, values: {} }));
  assert.ok(!isSameAnswer(sent, { approved: true, values: { a: 2 }, comment: "fine" }));
  assert.ok(!isSameAnswer(sent, { approved: true, values: { a: 1 } }));
  assert.ok(!isSameAnswer(null, { approved: true }));
});

Deno.test("what the gateway says of a field stands at that field", () => {
  const form = ["title", "data"].map((key) => ({ key, dataFlowType: "STRING" }));
  assert.deepEqual(fieldComplaint("approval 'check': field 'data' must be text, found a list", form), {
    key: "data",
    complaint: "must be text, found a list",
  });
  assert.equal(fieldComplaint("the form has no field 'x'; fields are 'data'", form), null);
});

Deno.test("deadlines say how much time is left", () => {
  const until = "2030-01-31T10:05:00.000Z";
  assert.match(deadlineWords(until, Date.parse(until) - 65_000), /^in 1 min 5 s \(/);
  assert.match(deadlineWords(until, Date.parse(until) + 1), /the time is over/);
  assert.match(deadlineWords(null, 0), /until somebody answers/);
  assert.equal(duration(20 * 86_400_000 + 3 * 3_600_000), "20 d 3 h");
});

Deno.test("a budget tells the least limit that helps, as far as anybody knows", () => {
  const amounts = { limit: { tokens: 2000, money: 1 }, used: { tokens: 1000, money: 0.5 } };
  const asked = approval("a", { kind: "budget", ...amounts, needed: { tokens: 2055, money: 0 } });
  assert.equal(leastWords(asked), "3,055 tokens", "the limit of money suffices");
  assert.equal(leastWords({ ...asked, needed: { tokens: 10, money: 0.75 } }), "1.25");
  assert.deepEqual(neededAmounts(asked), { tokens: 2055 }, "a price that nobody knows is not 0");
  assert.equal(amountWords({ tokens: 1, money: 0.25 }), "1 token, 0.25");
  assert.equal(leastWords(approval("a")), null);
});

/** @param {Partial<import("../../gateway/console/pages/usage.js").Sums>} more */
function sums(more) {
  const counts = { calls: 1, openCalls: 0, failedCalls: 0, estimatedCalls: 0, inputTokens: 0, outputTokens: 0 };
  const others = { cachedTokens: 0, reasoningTokens: 0, totalTokens: 0, cost: 0, currency: "USD", unknownCost: 0 };
  return { ...counts, ...others, ...more };
}

Deno.test("a price that nobody knows is unknown, and never 0", () => {
  assert.equal(costWords(sums({ cost: null, unknownCost: 2 })), "unknown");
  assert.equal(costWords(sums({ cost: 2, unknownCost: 1 })), "2.00 USD + 1 request of unknown price");
  assert.equal(costWords(sums({ cost: 0 })), "0.00 USD");
  assert.equal(costWords(sums({ cost: 1234.5, otherCosts: { EUR: 0.25 } })), "1,234.50 USD + 0.25 EUR");
  const others = { cost: null, unknownCost: 2, otherCosts: { EUR: 0.25 } };
  assert.equal(costWords(sums(others)), "0.25 EUR + 2 requests of unknown price");
  assert.equal(money(0.00158, "USD"), "0.00158 USD");
});

Deno.test("bars are as long as what they stand for, and absent where nobody knows", () => {
  assert.deepEqual(barLengths([1, 4, null]), [0.25, 1, 0]);
  assert.deepEqual(barLengths([0, null]), [0, 0]);
});

Deno.test("a report is asked for by what the gateway takes, whatever stands in the address", () => {
  assert.deepEqual(usageQuery({}), { groupBy: "day" });
  assert.deepEqual(usageQuery({ by: "model", from: "2030-01-01", to: "x" }), { groupBy: "model", from: "2030-01-01" });
  assert.deepEqual(usageQuery({ by: "password" }), { groupBy: "day" });
});

/** @param {string} kind @param {Record<string, unknown>} part */
function starts(kind, part) {
  const trigger = { id: "t", name: "t", kind, enabled: true, version: 1, secretCount: 0, workflow: { id: "w" } };
  return startsWhen({ ...trigger, [kind]: part });
}

Deno.test("triggers say what starts them", () => {
  assert.equal(starts("schedule", { cron: "0 8 * * 1-5", timezone: "Europe/Berlin" }), "0 8 * * 1-5 (Europe/Berlin)");
  assert.equal(starts("schedule", { interval: { everySeconds: 90 } }), "every 1 min 30 s");
  assert.equal(starts("schedule", { calendar: [{ hour: [9] }] }), "days of a calendar (UTC)");
  assert.equal(starts("event", { name: "order.*" }), "the event order.*");
  assert.equal(starts("file", { folder: "user://in" }), "a file user://in/*");
  assert.equal(starts("run", { statuses: ["error"] }), "the end of any run: error");
  assert.equal(starts("run", { statuses: ["error"], workflow: { id: "w" } }), "the end of a run of w: error");
  assert.equal(starts("webhook", { scheme: "github" }), "a request to its address (github)");
  assert.equal(starts("newer", {}), "");
});

Deno.test("a gateway that could not tell of runs is asked again", async () => {
  let asked = 0;
  /** @type {import("./serving.js").Answer} */
  const answer = (socket, { type, payload }) => {
    if (type !== "SUBSCRIBE" || payload.runs !== true) return;
    const isFirst = ++asked === 1;
    const told = isFirst ? { code: "event_log_unavailable", message: "full", runs: true } : { open: 3 };
    socket.send(JSON.stringify({ seq: null, ts: 0, type: isFirst ? "error" : "APPROVALS_UPDATE", payload: told }));
  };
  await serving(answer, async ({ url }) => {
    const socket = new GatewaySocket({ address: () => new URL(url), ticket: () => Promise.resolve(null) });
    followOpenApprovals(socket, { againMs: 1 });
    await socket.connect();
    await until(() => openCount.value?.open === 3);
    socket.close();
  });
});

Deno.test("a value that is one long number is the field `data`, as it is", () => {
  const form = [{ key: "data", dataFlowType: "INTEGER" }];
  assert.equal(JSON.stringify([...presentValues(form, parseJson("9007199254740993"))]), '[["data",9007199254740993]]');
});

Deno.test("a name that is nothing, or a book, is one line", () => {
  const titled = (/** @type {string} */ workflowName) =>
    nameOf({ promptId: "r", status: "complete", submittedAt: "", workflowName });
  assert.equal(titled("  \u00a0"), "(no name)");
  assert.equal(titled("N".repeat(10_000)).length, 201);
});
