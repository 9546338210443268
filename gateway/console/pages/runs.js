/** All runs in one list, as they change. What it is cut down to stands in the address. */

import { labelled } from "../lib/labelled.js";
import { setFilter, setFilters } from "../lib/router.js";
import { RUN_STATES, stateWord } from "../lib/state.js";
import { el, signal, untracked, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { followRuns } from "../run/run_list.js";
import { bulk } from "./bulk.js";
import { runList } from "./run_row.js";

/** @typedef {import("../lib/words.js").Word} Word */

/** @param {import("./page.js").PageContext} context @returns {import("./page.js").Page} */
export function runsPage({ socket, filters }) {
  const { runs, hasMore, problem, more, forget } = followRuns(socket, filters);
  const shown = () => runs.value ?? [];
  const { bar, box } = bulk({ runs: shown, forget });
  const hint = () => {
    if (problem.value !== null) return el("p", { class: "error", role: "alert" }, verbatim(problem.value.message));
    if (runs.value === null) return el("p", {}, t("loading"));
    return shown().length === 0 ? el("p", { class: "quiet" }, t("noRuns")) : null;
  };
  const moreButton = el("button", { type: "button", on: { click: more } }, t("more"));
  const content = el(
    "div",
    { class: "page" },
    el("h1", { tabindex: "-1" }, t("runs")),
    filterForm(filters),
    bar,
    runList(shown, box),
    hint,
    () => hasMore.value ? moreButton : null,
  );
  return { title: () => t("runs"), content };
}

/** @param {() => Readonly<Record<string, string>>} filters */
function filterForm(filters) {
  const made = signal(0);
  const clear = () => {
    setFilters({ status: "", workflowId: "", q: "", since: "", until: "" });
    made.value++;
  };
  const field = (/** @type {string} */ name, /** @type {Word} */ word, /** @type {string} */ type) => {
    const input = el("input", { type, id: name, value: untracked(() => filters()[name] ?? "") });
    input.addEventListener("input", () => setFilter(name, input.value));
    return labelled(t(word), input);
  };
  const fields = () => {
    made.value; // the fields follow the address once it is emptied
    return untracked(() => [
      statusField(filters),
      field("q", "filterText", "search"),
      field("workflowId", "filterWorkflow", "text"),
      field("since", "filterSince", "date"),
      field("until", "filterUntil", "date"),
    ]);
  };
  const isCut = () => ["status", "workflowId", "q", "since", "until"].some((name) => filters()[name]);
  return el(
    "form",
    { class: "filters", role: "search", on: { submit: (event) => event.preventDefault() } },
    fields,
    () => isCut() ? el("button", { type: "button", on: { click: clear } }, t("clearFilters")) : null,
  );
}

/** @param {() => Readonly<Record<string, string>>} filters */
function statusField(filters) {
  const status = untracked(() => filters().status ?? "");
  const options = ["", ...RUN_STATES].map((state) =>
    el("option", { value: state, selected: state === status }, state === "" ? t("anyStatus") : stateWord(state))
  );
  const select = el("select", { id: "status" }, ...options);
  select.addEventListener("change", () => setFilter("status", select.value));
  return labelled(t("filterStatus"), select);
}
