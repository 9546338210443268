/** The items of a repetition, thousands of them: their states, and the way into each. */

import { labelled } from "../lib/labelled.js";
import { longList } from "../lib/rows.js";
import { stateBadge, stateWord } from "../lib/state.js";
import { computed, el, signal, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { Tally } from "./tally.js";

/** @typedef {import("./canvas.js").Canvas} Canvas */
/** @typedef {import("./canvas.js").Shows} Shows */

const ROW_PIXELS = 44;
const STATES = ["running", "waiting", "error", "complete", "interrupted"];

/**
 * @param {{ prefix: string, shown: Shows, hrefOf: (number: number) => string }} repetition
 * @returns {Canvas}
 */
export function itemList({ prefix, shown, hrefOf }) {
  const status = signal("");
  const changes = signal(0);
  let tally = new Tally(prefix);
  const count = (/** @type {string} */ path) => tally.count(path, shown(path).state.status ?? "pending");
  const changed = () => void changes.value++;
  const numbers = computed(() => {
    changes.value;
    return tally.numbers(status.value);
  });
  const row = (/** @type {string} */ key) => {
    const number = Number(key);
    const state = computed(() => {
      changes.value;
      return tally.statusOf(number);
    });
    const link = el("a", { href: hrefOf(number) }, t("item", { n: number }));
    const failure = () => state.value === "error" ? complaint(tally.item(number).failed, shown) : null;
    return [link, el("span", {}, () => stateBadge(state.value)), el("span", {}, failure)];
  };
  const keys = computed(() => numbers.value.map(String));
  const rows = longList({ label: t("items"), height: ROW_PIXELS, keys: () => keys.value, row });
  const said = () => t("itemCount", { n: numbers.value.length });
  const element = el(
    "section",
    { class: "items", "aria-label": t("items") },
    el("div", { class: "filters" }, filter(status), el("p", { class: "quiet", role: "status" }, said)),
    rows,
  );
  return {
    element,
    show(paths) {
      tally = new Tally(prefix);
      paths.forEach(count);
      changed();
    },
    add: (path) => void (count(path) && changed()),
    touch: (path) => void (count(path) && changed()),
    select: () => {},
    fit: () => rows.scrollIntoView({ block: "nearest" }),
  };
}

/** @param {import("../lib/view.js").Signal<string>} status */
function filter(status) {
  const options = STATES.map((state) => el("option", { value: state }, stateWord(state)));
  const select = el("select", { id: "item-state" }, el("option", { value: "" }, t("anyStatus")), ...options);
  select.addEventListener("change", () => (status.value = select.value));
  return labelled(t("filterStatus"), select);
}

/** @param {string | null} path @param {Shows} shown */
function complaint(path, shown) {
  const message = path === null ? undefined : shown(path).state.error?.message;
  return message === undefined ? null : el("span", { class: "error row-text" }, verbatim(message.slice(0, 300)));
}
