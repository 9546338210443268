/** What requests to models took and cost, by day, workflow, model and channel. What it shows stands in the address. */

import { getJson } from "../api/rest.js";
import { factList } from "../lib/facts.js";
import { money, name, number } from "../lib/format.js";
import { labelled } from "../lib/labelled.js";
import { setFilter } from "../lib/router.js";
import { computed, el, signal, untracked, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { keepFresh, listHint, update } from "../run/lists.js";

/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {import("../lib/words.js").Word} Word */
/**
 * Sums over some requests. `cost` is null when no price is known; requests of an unknown price are not in it.
 * @typedef {{
 *   calls: number, openCalls: number, failedCalls: number, estimatedCalls: number,
 *   inputTokens: number, outputTokens: number, cachedTokens: number, reasoningTokens: number, totalTokens: number,
 *   cost: number | null, currency: string, unknownCost: number, otherCosts?: Record<string, number>,
 * }} Sums
 */
/** @typedef {Sums & { key: string | null }} Group */
/**
 * @typedef {{
 *   groupBy: string, groups: Group[], total: Sums, nextCursor: number | null, priceProblems: { line: number, message: string }[],
 * }} Report
 */

const STEP = 50;
const MOST = 500;
/** @type {[string, Word][]} */
const GROUPINGS = [["day", "byDay"], ["workflow", "byWorkflow"], ["model", "byModel"], ["channel", "byChannel"]];

/**
 * A cost in words. What nobody knows is never 0.
 * @param {Sums} sums
 * @returns {Shown}
 */
export function costWords({ cost, currency, unknownCost, otherCosts = {} }) {
  const others = Object.entries(otherCosts).map(([other, value]) => money(value, other));
  const known = [...(cost === null ? [] : [money(cost, currency)]), ...others];
  if (known.length === 0) return t("unknownPrice");
  return verbatim([...known, ...(unknownCost > 0 ? [t("costAlsoUnknown", { n: unknownCost })] : [])].join(" + "));
}

/**
 * The lengths of bars, from 0 to 1 of the longest one.
 * @param {readonly (number | null)[]} values Null: nobody knows, so there is no bar.
 */
export function barLengths(values) {
  const most = Math.max(0, ...values.map((value) => value ?? 0));
  return values.map((value) => most === 0 ? 0 : (value ?? 0) / most);
}

/**
 * What a report is asked for: only what the gateway takes.
 * @param {Readonly<Record<string, string>>} filters
 */
export function usageQuery({ by = "", from = "", to = "" }) {
  const groupBy = GROUPINGS.some(([known]) => known === by) ? by : "day";
  const isDay = (/** @type {string} */ text) => /^\d{4}-\d{2}-\d{2}$/.test(text);
  return { groupBy, ...(isDay(from) ? { from } : {}), ...(isDay(to) ? { to } : {}) };
}

/** @param {import("./page.js").PageContext} context @returns {import("./page.js").Page} */
export function usagePage({ socket, filters }) {
  const report = signal(/** @type {Report | null} */ (null));
  const limit = signal(STEP);
  const query = computed(() => JSON.stringify({ ...usageQuery(filters()), limit: String(limit.value) }));
  const load = async () => {
    const asked = query.peek();
    /** @type {Report} */
    const found = await getJson("api/usage", { query: JSON.parse(asked) });
    // Another one was chosen meanwhile: its own answer comes.
    if (asked === query.peek()) update(report, found);
  };
  const fresh = keepFresh(socket, load, () => {
    query.value;
  });
  const more = el("button", { type: "button", on: { click: () => (limit.value += STEP) } }, t("more"));
  const content = el(
    "div",
    { class: "page" },
    el("h1", { tabindex: "-1" }, t("usageTitle")),
    filterForm(filters),
    listHint(fresh, () => report.value?.groups ?? null, t("noUsage")),
    () => report.value === null ? null : reportView(report.value),
    () => report.value !== null && report.value.nextCursor !== null && limit.value < MOST ? more : null,
  );
  return { title: () => t("usageTitle"), content };
}

/** @param {() => Readonly<Record<string, string>>} filters */
function filterForm(filters) {
  const chosen = untracked(() => usageQuery(filters()));
  const options = GROUPINGS.map(([value, word]) =>
    el("option", { value, selected: value === chosen.groupBy }, t(word))
  );
  const by = el("select", { id: "by" }, ...options);
  by.addEventListener("change", () => setFilter("by", by.value));
  const day = (/** @type {"from" | "to"} */ id) => {
    const field = el("input", { type: "date", id, value: chosen[id] ?? "" });
    field.addEventListener("change", () => setFilter(id, field.value));
    return field;
  };
  return el(
    "form",
    { class: "filters", on: { submit: (event) => event.preventDefault() } },
    labelled(t("groupedBy"), by),
    labelled(t("firstDay"), day("from")),
    labelled(t("lastDay"), day("to")),
    el("span", { class: "quiet" }, t("daysInUtc")),
  );
}

/** @param {Report} report */
function reportView({ groupBy, groups, total, priceProblems }) {
  const problems = priceProblems.map(({ line, message }) => el("li", {}, t("priceLine", { line }), verbatim(message)));
  const wrong = problems.length === 0
    ? null
    : el("section", { class: "error-box" }, el("h2", {}, t("priceProblems")), el("ul", {}, ...problems));
  if (groups.length === 0) return wrong;
  return el("div", {}, wrong, totals(total), bars(groups, groupBy), table(groups, total, groupBy));
}

/** @param {Sums} total */
function totals(total) {
  /** @type {[Shown, Shown][]} */
  const rows = [
    [t("costSum"), costWords(total)],
    [t("tokenSum"), number(total.totalTokens)],
    [t("requestSum"), number(total.calls)],
  ];
  if (total.openCalls > 0) rows.push([t("openRequests"), number(total.openCalls)]);
  const hint = total.estimatedCalls > 0
    ? el("p", { class: "quiet" }, t("estimated", { n: total.estimatedCalls }))
    : null;
  const heading = el("h2", { id: "usage-total" }, t("total"));
  return el("section", { "aria-labelledby": "usage-total" }, heading, factList(rows), hint);
}

/**
 * Drawn for the eye: the table has the same for everybody.
 * @param {readonly Group[]} groups
 * @param {string} grouping
 */
function bars(groups, grouping) {
  const shown = grouping === "day" ? [...groups].reverse() : groups;
  const tokens = barLengths(shown.map((group) => group.totalTokens));
  const costs = barLengths(shown.map((group) => group.cost));
  const rows = shown.flatMap((group, index) => [
    el("span", { class: "amount-name" }, el("bdi", {}, groupName(group))),
    bar("tokens", tokens[index] ?? 0, t("tokenCount", { n: group.totalTokens, count: number(group.totalTokens) })),
    bar("cost", costs[index] ?? 0, costWords(group)),
  ]);
  return el("div", { class: "amounts", "aria-hidden": "true" }, ...rows);
}

/**
 * @param {string} kind
 * @param {number} length From 0 to 1.
 * @param {Shown} text
 */
function bar(kind, length, text) {
  const drawn = el("span", {
    class: `amount amount-${kind}`,
    style: { "inline-size": `${(length * 100).toFixed(1)}%` },
  });
  return el("span", { class: "amount-row" }, el("span", { class: "amount-track" }, drawn), el("span", {}, text));
}

/** @param {Group} group */
function groupName({ key }) {
  return key === null ? t("noKey") : name(key);
}

/**
 * @param {readonly Group[]} groups
 * @param {Sums} total
 * @param {string} grouping
 */
function table(groups, total, grouping) {
  const first = t(GROUPINGS.find(([value]) => value === grouping)?.[1] ?? "byDay");
  const words = [
    t("requestSum"),
    t("failedRequests"),
    t("inputTokens"),
    t("cachedTokens"),
    t("outputTokens"),
    t("costSum"),
  ];
  const head = [first, ...words].map((word) => el("th", { scope: "col" }, word));
  const body = groups.map((group) => row(el("bdi", {}, groupName(group)), group));
  return el(
    "div",
    { class: "table", role: "region", "aria-label": t("usageTable"), tabindex: "0" },
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ...head)),
      el("tbody", {}, ...body),
      el("tfoot", {}, row(t("total"), total)),
    ),
  );
}

/**
 * @param {import("../lib/view.js").Plain} head
 * @param {Sums} sums
 */
function row(head, sums) {
  const counts = [sums.calls, sums.failedCalls, sums.inputTokens, sums.cachedTokens, sums.outputTokens];
  const cells = [...counts.map(number), costWords(sums)].map((value) => el("td", {}, value));
  return el("tr", {}, el("th", { scope: "row" }, head), ...cells);
}
