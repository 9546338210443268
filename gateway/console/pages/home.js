/** What runs, what waits, what failed today; on the first visit the demo. */

import { getJson, submit } from "../api/rest.js";
import { complaintPlace } from "../lib/complaint.js";
import { now } from "../lib/clock.js";
import { isSameDay } from "../lib/format.js";
import { go, href } from "../lib/router.js";
import { el, signal } from "../lib/view.js";
import { t } from "../lib/words.js";
import { activeRuns, endedRuns, keepFresh } from "../run/lists.js";
import { runList } from "./run_row.js";

/** @typedef {import("../run/store.js").RunSummary} RunSummary */
/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {{ active: RunSummary[], failed: RunSummary[], isFirstVisit: boolean }} Found */

const MOST_FAILED = 100;

/** @param {import("./page.js").PageContext} context @returns {import("./page.js").Page} */
export function homePage({ socket }) {
  const found = signal(/** @type {Found | null} */ (null));
  keepFresh(socket, async () => {
    const [active, failed, ended] = await Promise.all([activeRuns(), endedRuns(MOST_FAILED, "error"), endedRuns(1)]);
    const today = failed.history.filter((run) =>
      isSameDay(new Date(run.completedAt ?? run.submittedAt), new Date(now()))
    );
    found.value = { active, failed: today, isFirstVisit: active.length + ended.history.length === 0 };
  });
  const sections = () => found.value === null ? el("p", {}, t("loading")) : null;
  const content = el(
    "div",
    { class: "page" },
    el("h1", { tabindex: "-1" }, t("home")),
    () => (found.value?.isFirstVisit ? welcome() : null),
    sections,
    el("div", { class: "columns" }, ...columns(() => found.value)),
    () => found.value === null || found.value.isFirstVisit ? null : el("div", { class: "actions" }, demoButton()),
    el("p", {}, el("a", { href: href(["runs"]) }, t("allRuns"))),
  );
  return { title: () => t("home"), content };
}

/** @param {() => Found | null} found */
function columns(found) {
  const active = () => found()?.active ?? [];
  const waits = (/** @type {RunSummary} */ run) => run.status === "waiting" || (run.openApprovals ?? 0) > 0;
  return [
    column(t("runningNow"), t("nothingRuns"), () => active().filter((run) => !waits(run))),
    column(t("waitingNow"), t("nothingWaits"), () => active().filter(waits)),
    column(t("failedToday"), t("nothingFailed"), () => found()?.failed ?? []),
  ];
}

/**
 * @param {Shown} title
 * @param {Shown} empty
 * @param {() => RunSummary[]} runs
 */
function column(title, empty, runs) {
  const hint = () => runs().length === 0 ? el("p", { class: "quiet" }, empty) : null;
  return el("section", { "aria-label": title }, el("h2", {}, title), runList(runs), hint);
}

function welcome() {
  return el("section", { class: "welcome" }, el("h2", {}, t("welcome")), el("p", {}, t("welcomeHint")), demoButton());
}

function demoButton() {
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
      { class: "primary", type: "button", disabled: () => isStarting.value, on: { click: start } },
      () => isStarting.value ? t("starting") : t("runDemo"),
    ),
    place,
  );
}
