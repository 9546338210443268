/** A run in a list. */

import { duration, moment, name } from "../lib/format.js";
import { href } from "../lib/router.js";
import { stateBadge } from "../lib/state.js";
import { each, el, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";

/** @typedef {import("../run/store.js").RunSummary} RunSummary */

/** @param {RunSummary} run */
export function nameOf(run) {
  return name(run.workflowName ?? run.workflowId ?? "") || t("unnamed");
}

/** @param {() => readonly RunSummary[]} runs */
export function runList(runs) {
  return el("ul", { class: "runs" }, each(runs, (run) => run.promptId, (run, id) => runRow(run, id)));
}

/**
 * @param {import("../lib/view.js").Readable<RunSummary>} run
 * @param {string} id
 */
function runRow(run, id) {
  const facts = () => [
    el("span", { title: t("columnSubmitted") }, moment(run.value.submittedAt)),
    run.value.durationMs === undefined
      ? null
      : el("span", { title: t("columnDuration") }, duration(run.value.durationMs)),
    run.value.openApprovals ? el("span", {}, t("openApprovals", { n: run.value.openApprovals })) : null,
    run.value.stuck ? el("span", { class: "error" }, t("stuck", { message: run.value.stuck.message })) : null,
  ];
  return el(
    "li",
    { class: "run-row" },
    () => stateBadge(run.value.status),
    el("a", { href: href(["run", id]) }, el("bdi", {}, () => nameOf(run.value))),
    el("code", {}, verbatim(id.slice(0, 8))),
    el("span", { class: "row-facts" }, facts),
  );
}
