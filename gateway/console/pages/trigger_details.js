/** What is behind a trigger: what became of its deliveries, its next times, and a delivery to try it with. */

import { change, getJson } from "../api/rest.js";
import { json, moment, name } from "../lib/format.js";
import { parseJson } from "../lib/json.js";
import { complaintOf } from "../lib/complaint.js";
import { href } from "../lib/router.js";
import { badge } from "../lib/state.js";
import { textBox, valueBox } from "../lib/values.js";
import { each, el, signal, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { keepFresh, listHint, update } from "../run/lists.js";

/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {import("../lib/words.js").Word} Word */
/** @typedef {import("../api/socket.js").GatewaySocket} GatewaySocket */
/** @typedef {{ id?: string, at: string, outcome: string, reason?: string, runId?: string, sample?: unknown }} Delivery */
/** @typedef {{ results: Delivery[], counters: Record<string, number> }} Results */
/**
 * @typedef {{
 *   outcome: string, reason: string, inputs: Record<string, unknown>, problems: { input: string, reason: string }[],
 *   notes: string[], runId?: string,
 * }} Tried
 */

/** @type {ReadonlyMap<string, { sign: string, word: Word, look: string }>} */
const OUTCOMES = new Map([
  ["fired", { sign: "\u25b6", word: "outcomeFired", look: "complete" }],
  ["queued", { sign: "\u2026", word: "outcomeQueued", look: "waiting" }],
  ["filtered", { sign: "\u2207", word: "outcomeFiltered", look: "skipped" }],
  ["duplicate", { sign: "=", word: "outcomeDuplicate", look: "skipped" }],
  ["skipped", { sign: "\u21b7", word: "outcomeSkipped", look: "skipped" }],
  ["refused", { sign: "\u2298", word: "outcomeRefused", look: "error" }],
  ["failed", { sign: "\u2717", word: "outcomeFailed", look: "error" }],
]);

/** @param {string} outcome */
function outcomeBadge(outcome) {
  const known = OUTCOMES.get(outcome);
  return known ? badge(known.look, t(known.word), verbatim(known.sign)) : badge("unknown", name(outcome));
}

/** @param {string} run */
function runLink(run) {
  return el("a", { href: href(["run", run]) }, verbatim(run.slice(0, 8)));
}

/**
 * @param {string} id
 * @param {GatewaySocket} socket
 */
export function results(id, socket) {
  const found = signal(/** @type {Results | null} */ (null));
  keepFresh(socket, async () => {
    update(found, await getJson(`api/triggers/${encodeURIComponent(id)}/results`));
  });
  const hint = () => {
    if (found.value === null) return el("p", {}, t("loading"));
    if (found.value.results.length === 0) return el("p", { class: "quiet" }, t("noDeliveries"));
    const counts = Object.entries(found.value.counters).filter(([, count]) => count > 0);
    return el(
      "ul",
      { class: "facts" },
      ...counts.map(([outcome, n]) => el("li", {}, outcomeBadge(outcome), verbatim(` ${n}`))),
    );
  };
  // One delivery of a trigger has no id when it was refused before it was read.
  const keyOf = (/** @type {Delivery} */ one) => JSON.stringify([one.id, one.at, one.outcome, one.runId, one.reason]);
  const list = each(() => found.value?.results ?? [], keyOf, (delivery) => deliveryItem(delivery.peek()));
  return el("div", {}, hint, el("ul", { class: "deliveries" }, list));
}

/** @param {Delivery} delivery */
function deliveryItem({ at, outcome, reason, runId, sample }) {
  const shown = sample === undefined || sample === null || sample === "" ? null : el(
    "details",
    {},
    el("summary", {}, t("sample")),
    textBox(t("sample"), json(sample)),
  );
  return el(
    "li",
    {},
    el("span", { class: "quiet" }, moment(at)),
    outcomeBadge(outcome),
    runId ? runLink(runId) : null,
    reason ? el("span", {}, verbatim(reason)) : null,
    shown,
  );
}

/**
 * @param {string} id
 * @param {GatewaySocket} socket
 */
export function nextTimes(id, socket) {
  const told = signal(/** @type {{ times: string[], notes: string[] } | null} */ (null));
  const fresh = keepFresh(socket, async () => {
    update(told, await getJson(`api/triggers/${encodeURIComponent(id)}/preview`));
  });
  return el("div", {}, listHint(fresh, () => told.value?.times ?? null, t("noTimes")), () => {
    if (told.value === null) return null;
    const { times, notes } = told.value;
    const items = times.map((time) => el("li", {}, el("time", { datetime: time }, moment(time))));
    const list = items.length === 0 ? null : el("ol", {}, ...items);
    const odd = notes.map((note) => el("li", {}, verbatim(note)));
    return [
      list,
      odd.length === 0 ? null : el("ul", { class: "warning", "aria-label": t("notes") }, ...odd),
      el("p", { class: "quiet" }, t("yourTimeZone", { zone: Intl.DateTimeFormat().resolvedOptions().timeZone })),
    ];
  });
}

/**
 * A delivery to try the trigger with. Nothing starts unless it is asked for.
 * @param {string} id
 * @param {string} kind
 */
export function tryOut(id, kind) {
  const tried = signal(/** @type {Tried | null} */ (null));
  const complaint = signal(/** @type {Shown | null} */ (null));
  const field = el("textarea", {
    id: `payload-${id}`,
    rows: "5",
    spellcheck: "false",
    "aria-describedby": `payload-complaint-${id}`,
    "aria-invalid": () => complaint.value === null ? null : "true",
  });
  field.value = "{}";
  const send = async (/** @type {boolean} */ run) => {
    complaint.value = null;
    try {
      const payload = parseJson(field.value);
      tried.value = await change("POST", `api/triggers/${encodeURIComponent(id)}/test`, { body: { payload, run } });
    } catch (error) {
      tried.value = null;
      const isOurs = error instanceof SyntaxError;
      complaint.value = isOurs ? t("notJson", { message: error.message }) : complaintOf(error);
      field.focus();
    }
  };
  const button = (/** @type {Shown} */ word, /** @type {() => void} */ click) =>
    el("button", { type: "button", on: { click } }, word);
  return el(
    "div",
    { class: "stack" },
    el("label", { for: `payload-${id}` }, kind === "webhook" ? t("sampleBody") : t("samplePayload")),
    field,
    el("p", { class: "error", role: "alert", id: `payload-complaint-${id}` }, () => complaint.value ?? verbatim("")),
    el("div", { class: "actions" }, button(t("tryIt"), () => send(false)), button(t("tryAndRun"), () => send(true))),
    el("div", { role: "status" }, () => tried.value === null ? null : triedView(tried.value)),
  );
}

/** @param {Tried} tried */
function triedView({ outcome, reason, inputs, problems, notes, runId }) {
  const lines = [
    ...problems.map((problem) =>
      el("li", {}, el("bdi", {}, name(problem.input)), verbatim(": "), verbatim(problem.reason))
    ),
    ...notes.map((note) => el("li", {}, verbatim(note))),
  ];
  return [
    el("p", {}, outcomeBadge(outcome), verbatim(" "), verbatim(reason), verbatim(" "), runId ? runLink(runId) : null),
    lines.length === 0 ? null : el("ul", { class: "warning" }, ...lines),
    el("div", {}, ...Object.entries(inputs).map(([input, value]) => valueBox(input, value))),
  ];
}
