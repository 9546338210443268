/** What a run is and where it comes from: times, workflow, trigger, cost; and whether it waits for somebody's answer. */

import { copyButton } from "../lib/copy.js";
import { duration, moment, name } from "../lib/format.js";
import { href } from "../lib/router.js";
import { computed, el, onEnd, untracked, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { FINAL } from "../run/project.js";
import { usageRows } from "./node_panel.js";
import { answerHref } from "./run_level.js";

/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {import("../lib/view.js").Plain} Plain */
/** @typedef {import("../run/store.js").RunStore} RunStore */
/** @typedef {import("../run/store.js").RunSummary} RunSummary */
/** @typedef {import("../run/store.js").RunStatus} RunStatus */

/** What a run cost so far, events do not tell. The status of a large run is too much to be asked for often. */
const EVERY_MS = 5000;
const MOST_NODES = 500;

/**
 * @param {RunStore} store
 * @param {string} id
 */
export function runFacts(store, id) {
  keepFresh(store);
  const times = stable(store, ({ submittedAt, durationMs }) => ({ submittedAt, durationMs }), timeRows);
  const origin = stable(store, ({ workflowId, workflowVersion, projectId, trigger }) => {
    return { workflowId, workflowVersion, projectId, trigger };
  }, originRows);
  const cost = stable(store, (run) => (isFresh(store, run) ? run.usage ?? {} : {}), costRows);
  const copyId = copyButton(t("copyId"), () => id);
  return el(
    "dl",
    { class: "summary summary-row" },
    times,
    origin,
    cost,
    row(t("runId"), el("code", {}, verbatim(id)), ...copyId),
  );
}

/**
 * Rows that are made anew only when what they say has changed: a link in them keeps the focus.
 * @template T
 * @param {RunStore} store
 * @param {(run: RunStatus) => T} pick
 * @param {(picked: T) => Plain[]} rows
 * @returns {() => Plain[]}
 */
function stable(store, pick, rows) {
  const told = computed(() => store.summary.value === null ? "" : JSON.stringify(pick(store.summary.value)));
  return () => told.value === "" ? [] : rows(JSON.parse(told.value));
}

/** @param {Pick<RunSummary, "submittedAt" | "durationMs">} run */
function timeRows({ submittedAt, durationMs }) {
  return [
    row(t("submittedAt"), moment(submittedAt)),
    durationMs === undefined ? null : row(t("duration"), duration(durationMs)),
  ];
}

/** @param {Partial<import("../run/project.js").Usage>} usage Empty when nobody knows. */
function costRows(usage) {
  return usage.calls === undefined
    ? []
    : usageRows(/** @type {import("../run/project.js").Usage} */ (usage)).map(([word, value]) => row(word, value));
}

/** @param {RunStore} store */
function keepFresh(store) {
  const timer = setInterval(() => {
    const isGoingOn = store.summary.peek() !== null && !store.view.isFinal;
    if (isGoingOn && !document.hidden && store.nodeCount.peek() <= MOST_NODES) store.refresh();
  }, EVERY_MS);
  onEnd(() => clearInterval(timer));
}

/** Is what is known of its cost not long past? @param {RunStore} store @param {RunSummary} run */
function isFresh(store, { status }) {
  return FINAL.has(status) || store.nodeCount.value <= MOST_NODES;
}

/**
 * @param {Shown} word
 * @param {...Plain} value
 */
function row(word, ...value) {
  return el("div", {}, el("dt", {}, word), el("dd", {}, ...value));
}

/**
 * The stored workflow, and what started the run.
 * @param {Pick<RunSummary, "workflowId" | "workflowVersion" | "projectId" | "trigger">} run
 */
function originRows({ workflowId, workflowVersion, projectId = "", trigger }) {
  return [
    workflowId === undefined || workflowVersion === undefined ? null : row(
      t("workflow"),
      el("a", { href: href(["workflows", workflowId], { project: projectId }) }, el("bdi", {}, name(workflowId))),
      verbatim(" "),
      t("versionNumber", { n: workflowVersion }),
    ),
    trigger?.id === undefined ? null : row(t("startedBy"), triggerLink(trigger)),
  ];
}

/** @param {NonNullable<RunSummary["trigger"]>} trigger */
export function triggerLink({ id = "", name: own = "" }) {
  return el("a", { href: href(["triggers"], { trigger: id }) }, el("bdi", {}, name(own || id)));
}

/**
 * The way to the answers that a run waits for; nothing when it waits for none.
 * @param {RunStore} store
 * @param {string} id
 */
export function answerHint(store, id) {
  const open = computed(() => {
    store.lastSeq.value;
    return [...store.view.approvals.values()].filter(({ status }) => status === "open").length;
  });
  const hint = () =>
    open.value === 0 ? null : untracked(() =>
      el(
        "p",
        { class: "answer-hint" },
        t("waitsForAnswer", { n: open.value }),
        verbatim(" "),
        el("a", { href: answerHref(id) }, t("answerNow")),
      )
    );
  return el("div", { role: "status" }, hint);
}
