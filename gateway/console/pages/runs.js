/** All runs in one list. What it is cut down to stands in the address. */

import { setFilter } from "../lib/router.js";
import { RUN_STATES, stateWord } from "../lib/state.js";
import { computed, el, signal, untracked } from "../lib/view.js";
import { t } from "../lib/words.js";
import { activeRuns, endedRuns, keepFresh } from "../run/lists.js";
import { FINAL } from "../run/project.js";
import { runList } from "./run_row.js";

/** @typedef {import("../run/store.js").RunSummary} RunSummary */

const STEP = 50;
const MOST = 500;

/**
 * The runs that fit.
 * @param {readonly RunSummary[]} runs
 * @param {Readonly<Record<string, string>>} filters `status`, and `q`: a part of the name or id.
 */
export function fitting(runs, { status = "", q = "" }) {
  const wanted = q.trim().toLowerCase();
  return runs.filter((run) => {
    const names = [run.workflowName, run.workflowId, run.promptId].map((one) => (one ?? "").toLowerCase());
    return (status === "" || run.status === status) && names.some((one) => one.includes(wanted));
  });
}

/** @param {import("./page.js").PageContext} context @returns {import("./page.js").Page} */
export function runsPage({ socket, filters }) {
  const runs = signal(/** @type {readonly RunSummary[] | null} */ (null));
  const limit = signal(STEP);
  const hasMore = signal(false);
  const status = computed(() => filters().status ?? "");
  const load = async () => {
    const isEnd = FINAL.has(status.peek());
    const [active, past] = await Promise.all([
      isEnd ? [] : activeRuns(),
      isEnd || status.peek() === "" ? endedRuns(limit.peek(), status.peek()) : { history: [], nextCursor: null },
    ]);
    hasMore.value = past.nextCursor !== null && limit.peek() < MOST;
    runs.value = [...active, ...past.history];
  };
  keepFresh(socket, load, () => {
    status.value;
    limit.value;
  });
  const shown = () => fitting(runs.value ?? [], filters());
  const hint = () => {
    if (runs.value === null) return el("p", {}, t("loading"));
    return shown().length === 0 ? el("p", { class: "quiet" }, t("noRuns")) : null;
  };
  const more = el("button", { type: "button", on: { click: () => (limit.value += STEP) } }, t("more"));
  const content = el(
    "div",
    { class: "page" },
    el("h1", { tabindex: "-1" }, t("runs")),
    filterForm(filters),
    runList(shown),
    hint,
    () => hasMore.value ? more : null,
  );
  return { title: () => t("runs"), content };
}

/** @param {() => Readonly<Record<string, string>>} filters */
function filterForm(filters) {
  const status = untracked(() => filters().status ?? "");
  const options = ["", ...RUN_STATES].map((state) =>
    el("option", { value: state, selected: state === status }, state === "" ? t("anyStatus") : stateWord(state))
  );
  const select = el("select", { id: "status" }, ...options);
  select.addEventListener("change", () => setFilter("status", select.value));
  const text = el("input", { type: "search", id: "q", value: untracked(() => filters().q ?? "") });
  text.addEventListener("input", () => setFilter("q", text.value));
  return el(
    "form",
    { class: "filters", role: "search", on: { submit: (event) => event.preventDefault() } },
    el("label", { for: "status" }, t("filterStatus")),
    select,
    el("label", { for: "q" }, t("filterText")),
    text,
  );
}
