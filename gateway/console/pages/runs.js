/** All runs in one list, as they change. What it is cut down to stands in the address. */

import { labelled } from "../lib/labelled.js";
import { followFilter, href, setFilter, setFilters } from "../lib/router.js";
import { RUN_STATES, stateWord } from "../lib/state.js";
import { el, onEnd, signal, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { followRuns, queryOf } from "../run/run_list.js";
import { bulk } from "./bulk.js";
import { runList } from "./run_row.js";

/** @typedef {import("../lib/words.js").Word} Word */

const LEAVING_MS = 1000;

/** @param {import("./page.js").PageContext} context @returns {import("./page.js").Page} */
export function runsPage({ socket, filters }) {
  const isPointedAt = signal(false);
  const chosen = signal(0);
  const isHeld = () => isPointedAt.value || chosen.value > 0;
  const { runs, hasMore, problem, more, forget, isBehind, catchUp } = followRuns(socket, filters, isHeld);
  const shown = () => runs.value ?? [];
  const { bar, box } = bulk({ runs: shown, forget, count: chosen });
  const list = runList(shown, box);
  whilePointedAt(list, isPointedAt);
  const hint = () => {
    if (problem.value !== null) return el("p", { class: "error", role: "alert" }, verbatim(problem.value.message));
    if (runs.value === null) return el("p", {}, t("loading"));
    if (shown().length > 0) return null;
    return Object.keys(queryOf(filters())).length > 0 ? el("p", { class: "quiet" }, t("noRuns")) : noRunsYet();
  };
  // Always there: what appears above the list would move it.
  const unseen = () => isBehind.value ? null : "unseen";
  const news = el("button", { type: "button", class: unseen, on: { click: catchUp } }, t("showNews"));
  const moreButton = el("button", { type: "button", on: { click: more } }, t("more"));
  const content = el(
    "div",
    { class: "page" },
    el("h1", { tabindex: "-1" }, t("runs")),
    filterForm(filters),
    el("div", { class: "actions" }, bar, news),
    list,
    hint,
    () => hasMore.value ? moreButton : null,
  );
  return { title: () => t("runs"), content };
}

/**
 * @param {HTMLElement} list
 * @param {import("../lib/view.js").Signal<boolean>} isPointedAt By a mouse, or by the keyboard.
 */
function whilePointedAt(list, isPointedAt) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const look = () => (isPointedAt.value = list.matches(":hover, :focus-within"));
  for (const type of ["pointerenter", "focusin"]) list.addEventListener(type, look);
  // The way to the button that shows what waits must not make it vanish.
  for (const type of ["pointerleave", "focusout"]) {
    list.addEventListener(type, () => {
      clearTimeout(timer);
      timer = setTimeout(look, LEAVING_MS);
    });
  }
  onEnd(() => clearTimeout(timer));
}

function noRunsYet() {
  const way = el("a", { href: href(["workflows"]) }, t("startWorkflow"));
  return el("p", { class: "quiet" }, t("noRunsYet"), verbatim(" "), way);
}

/** @param {() => Readonly<Record<string, string>>} filters */
function filterForm(filters) {
  const names = /** @type {const} */ (["status", "workflowId", "q", "since", "until"]);
  const clear = () => setFilters(Object.fromEntries(names.map((name) => [name, ""])));
  const field = (/** @type {string} */ name, /** @type {Word} */ word, /** @type {string} */ type) => {
    const input = el("input", { type, id: name });
    followFilter(input, filters, name);
    input.addEventListener("input", () => setFilter(name, input.value));
    return labelled(t(word), input);
  };
  const isCut = () => names.some((name) => filters()[name]);
  return el(
    "form",
    { class: "filters", role: "search", on: { submit: (event) => event.preventDefault() } },
    statusField(filters),
    field("q", "filterText", "search"),
    field("workflowId", "filterWorkflow", "text"),
    field("since", "filterSince", "date"),
    field("until", "filterUntil", "date"),
    () => isCut() ? el("button", { type: "button", on: { click: clear } }, t("clearFilters")) : null,
  );
}

/** @param {() => Readonly<Record<string, string>>} filters */
function statusField(filters) {
  const options = ["", ...RUN_STATES].map((state) =>
    el("option", { value: state }, state === "" ? t("anyStatus") : stateWord(state))
  );
  const select = el("select", { id: "status" }, ...options);
  followFilter(select, filters, "status");
  select.addEventListener("change", () => setFilter("status", select.value));
  return labelled(t("filterStatus"), select);
}
