/** A run in a list. */

import { duration, moment, money, name } from "../lib/format.js";
import { href } from "../lib/router.js";
import { stateBadge, waitedFor } from "../lib/state.js";
import { each, el, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { triggerLink } from "./run_facts.js";
import { answerHref } from "./run_level.js";

/** @typedef {import("../run/store.js").RunSummary} RunSummary */

/** Characters of a name or an error that stand on a line. */
const MOST = 200;

/** @param {RunSummary} run */
export function nameOf(run) {
  const own = (run.workflowName ?? run.workflowId ?? "").trim();
  return name(own.length > MOST ? `${own.slice(0, MOST)}…` : own) || t("unnamed");
}

/** @typedef {(run: import("../lib/view.js").Readable<RunSummary>, id: string) => Element | null} Beside */

/**
 * @param {() => readonly RunSummary[]} runs
 * @param {Beside} [beside] What stands before each run.
 */
export function runList(runs, beside = () => null) {
  const row = (/** @type {import("../lib/view.js").Readable<RunSummary>} */ run, /** @type {string} */ id) =>
    runRow(run, { id, lead: beside(run, id) });
  return el("ul", { class: "runs" }, each(runs, (run) => run.promptId, row));
}

/**
 * @param {import("../lib/view.js").Readable<RunSummary>} run
 * @param {{ id: string, lead: Element | null }} options
 */
function runRow(run, { id, lead }) {
  const facts = () => [
    el("span", { title: t("columnSubmitted") }, moment(run.value.submittedAt)),
    run.value.durationMs === undefined
      ? null
      : el("span", { title: t("columnDuration") }, duration(run.value.durationMs)),
    run.value.openApprovals
      ? el("a", { href: answerHref(id) }, t("openApprovals", { n: run.value.openApprovals }))
      : null,
    run.value.trigger?.id === undefined
      ? null
      : el("span", {}, t("startedBy"), verbatim(" "), triggerLink(run.value.trigger)),
    ...(run.value.waiting ?? []).map((wait) => el("span", {}, t("waitsFor", { what: waitedFor(wait) }))),
    run.value.cost === undefined
      ? null
      : el("span", { title: t("cost") }, money(run.value.cost, run.value.currency ?? "")),
    run.value.errorInfo ? el("span", { class: "error" }, verbatim(run.value.errorInfo.message.slice(0, MOST))) : null,
    run.value.stuck ? el("span", { class: "error" }, t("stuck", { message: run.value.stuck.message })) : null,
  ];
  return el(
    "li",
    { class: "run-row" },
    el("span", { class: "row-lead" }, lead, () => stateBadge(run.value.status)),
    el("a", { href: href(["run", id]) }, el("bdi", {}, () => nameOf(run.value))),
    el("code", { title: verbatim(id) }, verbatim(id.slice(0, 8))),
    el("span", { class: "row-facts" }, facts),
  );
}
