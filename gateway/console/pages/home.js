/** What runs, what waits, what failed today; on the first visit the demo. */

import { getJson, submit } from "../api/rest.js";
import { complaintPlace } from "../lib/complaint.js";
import { now } from "../lib/clock.js";
import { isSameDay } from "../lib/format.js";
import { go, href } from "../lib/router.js";
import { computed, el, signal, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { openCount } from "../run/open_count.js";
import { followRuns } from "../run/run_list.js";
import { runList } from "./run_row.js";

/** @typedef {import("../run/store.js").RunSummary} RunSummary */
/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {import("../lib/view.js").Plain} Plain */
/** @typedef {ReturnType<typeof followRuns>} Followed */
/**
 * `runs` is null before the gateway has told; `more`: where all of them are; `above`: what else is to be said.
 * @typedef {{
 *   title: Shown, empty: Shown, more: string, runs: () => readonly RunSummary[] | null, above?: () => Plain,
 * }} Column
 */

const ACTIVE = ["queued", "running", "waiting", "paused", "interrupting"];
/** So many runs of a kind are listed here. */
const MOST = 20;

/** @param {import("./page.js").PageContext} context @returns {import("./page.js").Page} */
export function homePage({ socket }) {
  const active = followRuns(socket, () => ({ status: ACTIVE.join(",") }));
  const failed = followRuns(socket, () => ({ status: "error" }));
  const all = followRuns(socket, () => ({}));
  const isFirstVisit = computed(() => all.runs.value?.length === 0);
  const problem = () => [active, failed, all].map((list) => list.problem.value).find((one) => one) ?? null;
  const complaint = () => {
    const error = problem();
    return error === null ? null : el("p", { class: "error", role: "alert" }, verbatim(error.message));
  };
  const sections = () => {
    if (all.runs.value === null) return problem() === null ? el("p", { class: "quiet" }, t("loading")) : null;
    return isFirstVisit.value ? welcome() : el("div", { class: "actions" }, startLink("button"), demoButton());
  };
  const parts = columns(active.runs, failed.runs).map(column);
  const content = el(
    "div",
    { class: "page" },
    el("h1", { tabindex: "-1" }, t("home")),
    complaint,
    sections,
    el("div", { class: "columns", hidden: () => all.runs.value === null || isFirstVisit.value }, ...parts),
    el("p", { hidden: () => isFirstVisit.value }, el("a", { href: href(["runs"]) }, t("allRuns"))),
  );
  return { title: () => t("home"), content };
}

/**
 * @param {Followed["runs"]} active
 * @param {Followed["runs"]} failed
 * @returns {Column[]}
 */
function columns(active, failed) {
  const waits = (/** @type {RunSummary} */ run) => run.status === "waiting" || (run.openApprovals ?? 0) > 0;
  const isToday = (/** @type {RunSummary} */ run) =>
    isSameDay(new Date(run.completedAt ?? run.submittedAt), new Date(now()));
  const kept = (/** @type {typeof active} */ list, /** @type {(run: RunSummary) => boolean} */ isKept) => () =>
    list.value?.filter(isKept) ?? null;
  return [
    {
      title: t("runningNow"),
      empty: t("nothingRuns"),
      more: href(["runs"], { status: "running" }),
      runs: kept(active, (run) => !waits(run)),
    },
    {
      title: t("waitingNow"),
      empty: t("nothingWaits"),
      more: href(["runs"], { status: "waiting" }),
      runs: kept(active, waits),
      above: approvalsLink,
    },
    {
      title: t("failedToday"),
      empty: t("nothingFailed"),
      more: href(["runs"], { status: "error" }),
      runs: kept(failed, isToday),
    },
  ];
}

/** @param {Column} column */
function column({ title, empty, more, runs, above = () => null }) {
  const shown = computed(() => runs()?.slice(0, MOST) ?? []);
  // Before the gateway has told, nobody knows that there is nothing.
  const hint = () => runs()?.length === 0 ? el("p", { class: "quiet" }, empty) : null;
  const rest = () => (runs()?.length ?? 0) > MOST ? el("p", {}, el("a", { href: more }, t("more"))) : null;
  const list = runList(() => shown.value);
  return el("section", { "aria-label": title }, el("h2", {}, title), above, list, hint, rest);
}

/** The way to what waits for an answer. */
function approvalsLink() {
  const n = openCount.value?.open ?? 0;
  return n === 0 ? null : el("p", {}, el("a", { href: href(["approvals"]) }, t("answerApprovals", { n })));
}

function welcome() {
  return el(
    "section",
    { class: "welcome" },
    el("h2", {}, t("welcome")),
    el("p", {}, t("welcomeHint")),
    demoButton("primary"),
    el("p", {}, t("welcomeOwn"), verbatim(" "), startLink()),
  );
}

/** @param {string} [look] A class. */
function startLink(look) {
  return el("a", { class: look, href: href(["workflows"]) }, t("startWorkflow"));
}

/** @param {string} [look] A class. */
function demoButton(look) {
  const isStarting = signal(false);
  const { attempt, place } = complaintPlace();
  const start = async () => {
    isStarting.value = true;
    await attempt(async () => go(["run", await submit(await getJson("console/demo.json"))]));
    isStarting.value = false;
  };
  return el(
    "div",
    { class: "demo" },
    el(
      "button",
      { class: look, type: "button", disabled: () => isStarting.value, on: { click: start } },
      () => isStarting.value ? t("starting") : t("runDemo"),
    ),
    place,
  );
}
