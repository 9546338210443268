/** Start a run where another one stands: first what it would take over, then the start, and what came of it. */

import { GatewayError } from "../api/rest.js";
import { reasonOf } from "../lib/complaint.js";
import { openDialog } from "../lib/dialog.js";
import { name } from "../lib/format.js";
import { go, href } from "../lib/router.js";
import { computed, el, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { announced, compare, preview, start, surprises } from "../run/rerun.js";

/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {import("../run/rerun.js").Preview} Preview */
/** @typedef {import("../run/store.js").RunStore} RunStore */

/** Names of a list that are shown at once. */
const MOST = 100;

/**
 * Show what a rerun would do, start it when somebody agrees, and go to it.
 * @param {string} run
 * @param {string[]} nodes These, and what comes behind them, run; without any, what has not finished.
 */
export async function rerunFrom(run, nodes) {
  try {
    const request = { baseRun: run, ...(nodes.length > 0 ? { fromNode: nodes } : {}) };
    const plan = await preview(request);
    const [uncached, isUncached] = choice(t("rerunUncached"));
    const [anew, isAnew] = choice(t("rerunAnew"));
    const choices = nodes.length === 0 && plan.reused.length > 0 ? [anew, uncached] : [uncached];
    if (!await openDialog(t("rerunTitle"), [...planBox(plan), ...choices], { action: t("start") })) return;
    const chosen = isAnew.checked ? everything(plan) : plan;
    const from = isAnew.checked ? { fromNode: chosen.runs } : {};
    go(["run", await start({ ...request, ...from, ...(isUncached.checked ? { noCache: true } : {}) }, chosen)]);
  } catch (error) {
    const problems = error instanceof GatewayError ? error.problems : [];
    const list = problems.length < 2
      ? null
      : el("ul", {}, ...problems.map((one) => el("li", {}, verbatim(one.message))));
    await openDialog(t("rerunRefused"), [el("p", { class: "error" }, reasonOf(error)), list]);
  }
}

/** @param {Shown} word @returns {[HTMLElement, HTMLInputElement]} */
function choice(word) {
  const box = el("input", { type: "checkbox" });
  return [el("p", {}, el("label", {}, box, verbatim(" "), word)), box];
}

/** The same run without taking anything over. @param {Preview} plan @returns {Preview} */
export function everything({ reused, runs, stale }) {
  return { reused: [], runs: [...reused, ...runs, ...stale], stale: [] };
}

/** @param {Preview} plan */
function planBox(plan) {
  const nothing = plan.runs.length === 0 ? el("p", { class: "warning" }, t("rerunNothing")) : null;
  const told = (plan.warnings ?? []).map(({ message }) => el("li", {}, verbatim(message)));
  return [
    nothing,
    listed(t("rerunReused", { n: plan.counts?.reused ?? plan.reused.length }), plan.reused),
    listed(t("rerunRuns", { n: plan.counts?.runs ?? plan.runs.length }), plan.runs),
    plan.stale.length === 0 ? null : listed(t("rerunStale", { n: plan.stale.length }), plan.stale),
    told.length === 0 ? null : el("ul", { class: "warning", "aria-label": t("warnings") }, ...told),
  ];
}

/**
 * @param {Shown} title
 * @param {readonly string[]} paths
 */
function listed(title, paths) {
  if (paths.length === 0) return el("p", {}, title);
  const items = paths.slice(0, MOST).map((path) => el("li", {}, el("bdi", {}, name(path))));
  const more = paths.length > MOST ? el("li", {}, t("andMore", { n: paths.length - MOST })) : null;
  return el("details", {}, el("summary", {}, title), el("ul", {}, ...items, more));
}

/**
 * Of a run that took something over: from which one, what, and whether it was as announced.
 * @param {RunStore} store
 * @param {string} id
 */
export function rerunBox(store, id) {
  const base = computed(() => store.summary.value?.baseRun ?? null);
  const told = announced(id);
  return () => {
    if (base.value === null) return null;
    store.nodeCount.value;
    const comparison = compare(store.view.nodes, told);
    const { ranInstead, reusedInstead } = surprises(comparison);
    const isEqual = ranInstead.length + reusedInstead.length === 0;
    const verdict = told === null ? null : isEqual ? t("rerunAsAnnounced") : t("rerunOtherwise");
    return el(
      "section",
      { class: "rerun", "aria-label": t("rerun") },
      el("p", {}, t("rerunOf"), verbatim(" "), el("a", { href: href(["run", base.value]) }, verbatim(base.value))),
      listed(t("rerunReused", { n: comparison.reused.length }), comparison.reused),
      listed(t("rerunRan", { n: comparison.ran.length }), comparison.ran),
      verdict === null ? null : el("p", { class: isEqual ? "quiet" : "warning" }, verdict),
      ranInstead.length > 0 ? listed(t("ranInstead", { n: ranInstead.length }), ranInstead) : null,
      reusedInstead.length > 0 ? listed(t("reusedInstead", { n: reusedInstead.length }), reusedInstead) : null,
    );
  };
}
