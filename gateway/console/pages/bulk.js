/** Stop, delete and run again many runs at once, after a dialog that says how many. */

import { reasonOf } from "../lib/complaint.js";
import { openDialog } from "../lib/dialog.js";
import { name } from "../lib/format.js";
import { effect, el, signal, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { act, countNodes, forAll, suits } from "../run/bulk.js";
import { nameOf } from "./run_row.js";

/** @typedef {import("../run/bulk.js").Action} Action */
/** @typedef {import("../run/store.js").RunSummary} RunSummary */
/** @typedef {import("../lib/words.js").Word} Word */
/** @typedef {{ button: Word, title: Word, agree: Word }} Words */

/** @type {[Action, Words][]} */
const ACTIONS = [
  ["stop", { button: "stopChosen", title: "stopTitle", agree: "stop" }],
  ["rerun", { button: "rerunChosen", title: "rerunChosenTitle", agree: "start" }],
  ["delete", { button: "deleteChosen", title: "deleteTitle", agree: "delete" }],
];
const MOST_NAMED = 20;

/**
 * The choice of runs, and what can be done with it. A run that leaves the list leaves the choice.
 * @param {{
 *   runs: () => readonly RunSummary[], forget: (id: string) => void,
 *   count: import("../lib/view.js").Signal<number>,
 * }} list `count` becomes how many are chosen.
 */
export function bulk({ runs, forget, count }) {
  const ids = signal(/** @type {ReadonlySet<string>} */ (new Set()));
  const said = signal(verbatim(""));
  const chosen = () => runs().filter(({ promptId }) => ids.value.has(promptId));
  const choose = (/** @type {string} */ id, /** @type {boolean} */ isChosen) => {
    const next = new Set(ids.peek());
    if (isChosen) next.add(id);
    else next.delete(id);
    ids.value = next;
  };
  effect(() => {
    count.value = chosen().length;
  });
  const box = (/** @type {import("../lib/view.js").Readable<RunSummary>} */ run, /** @type {string} */ id) => {
    const label = () => t("choose", { run: nameOf(run.value) });
    const input = el("input", { type: "checkbox", "aria-label": label, "data-choose": id });
    input.addEventListener("change", () => choose(id, input.checked));
    follow(input, () => ids.value.has(id));
    return input;
  };
  const all = el("input", { type: "checkbox", id: "choose-all" });
  all.addEventListener("change", () => {
    ids.value = new Set(all.checked ? runs().map(({ promptId }) => promptId) : []);
  });
  follow(all, () => runs().length > 0 && chosen().length === runs().length);
  const run = async (/** @type {Action} */ action, /** @type {Words} */ words) => {
    const all = chosen();
    const fitting = all.filter((one) => suits(action, one)).map(({ promptId }) => promptId);
    if (!await isAgreed(action, words, { all, fitting })) return;
    const { done, failed } = await forAll(fitting, (id) => act(action, id));
    done.forEach((id) => choose(id, false));
    if (action === "delete") done.forEach(forget);
    said.value = verbatim([outcome(done.length), failure(failed)].filter((text) => text !== null).join(" "));
  };
  const buttons = ACTIONS.map(([action, words]) => {
    const fitting = () => chosen().filter((one) => suits(action, one)).length;
    const attributes = { type: "button", disabled: () => fitting() === 0, on: { click: () => run(action, words) } };
    return el("button", attributes, () => t(words.button, { n: fitting() }));
  });
  const bar = el(
    "div",
    { class: "actions", role: "group", "aria-label": t("bulkActions") },
    el("label", {}, all, verbatim(" "), t("chooseAll")),
    ...buttons,
    el("p", { class: "quiet", role: "status" }, said),
  );
  return { bar, box };
}

/**
 * @param {HTMLInputElement} input
 * @param {() => boolean} isChecked
 */
function follow(input, isChecked) {
  effect(() => {
    input.checked = isChecked();
  });
}

/** @param {number} n */
function outcome(n) {
  return n === 0 ? null : t("bulkDone", { n });
}

/** @param {{ error: unknown }[]} failed */
function failure(failed) {
  const first = failed[0];
  return first === undefined ? null : t("bulkFailed", { n: failed.length, message: reasonOf(first.error) });
}

/**
 * @param {Action} action
 * @param {Words} words
 * @param {{ all: readonly RunSummary[], fitting: readonly string[] }} chosen
 */
async function isAgreed(action, { title, agree }, { all, fitting }) {
  const left = all.length - fitting.length;
  const hint = action === "delete"
    ? t("deleteHint")
    : action === "stop"
    ? t("stopRunHint")
    : t("rerunChosenHint", await countNodes(fitting));
  const named = all.filter(({ promptId }) => fitting.includes(promptId));
  const items = named.slice(0, MOST_NAMED).map((run) => el("li", {}, el("bdi", {}, nameOf(run)), idOf(run)));
  const more = named.length > MOST_NAMED ? el("li", {}, t("andMore", { n: named.length - MOST_NAMED })) : null;
  const content = [
    el("p", {}, hint),
    el("ul", {}, ...items, more),
    left === 0 ? null : el("p", { class: "quiet" }, t("leftAlone", { n: left })),
  ];
  return await openDialog(t(title, { n: fitting.length }), content, { action: t(agree) });
}

/** @param {RunSummary} run */
function idOf({ promptId }) {
  return el("span", { class: "quiet" }, verbatim(" "), name(promptId.slice(0, 8)));
}
