/** The nodes of a run as a list: what a screen reader reads and a keyboard walks, beside any drawing of the graph. */

import { duration, moment, name } from "../lib/format.js";
import { isAsking, skipReason, stateBadge, waitedFor } from "../lib/state.js";
import { growingText, valueBox } from "../lib/values.js";
import { computed, each, effect, el, signal, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";

/** @typedef {import("./canvas.js").Canvas} Canvas */
/** @typedef {import("./canvas.js").Shows} Shows */
/** @typedef {import("../run/store.js").NodeShown} NodeShown */
/** @typedef {import("../lib/view.js").Plain} Plain */
/** @typedef {import("../lib/view.js").Readable<NodeShown>} LiveNode */

/** So many nodes are listed before somebody asks for more: elements for thousands take seconds. */
const MOST_LISTED = 500;

/**
 * What the graph says of a node, and where things are shown: `hrefOf` the node closely, `wayIn` what is inside it (null
 * for nothing), `answerAt` what it asks.
 * @typedef {{
 *   nodeAt: (path: string) => { title: string, type: string } | null,
 *   hrefOf: (path: string) => string,
 *   wayIn: (path: string) => string | null,
 *   answerAt: (path: string) => string,
 * }} Around
 */

/**
 * @param {Shows} shown
 * @param {Around} around
 * @returns {Canvas}
 */
export function nodeList(shown, around) {
  const paths = signal(/** @type {readonly string[]} */ ([]));
  const selected = signal(/** @type {string | null} */ (null));
  /** @type {Map<string, import("../lib/view.js").Signal<NodeShown>>} */
  const nodes = new Map();
  const enter = (/** @type {string} */ path) => nodes.set(path, signal(shown(path)));
  const item = (/** @type {unknown} */ _item, /** @type {string} */ path) => {
    const node = nodes.get(path) ?? signal(shown(path));
    const isSelected = () => selected.value === path;
    return nodeItem(node, path, { ...around, isSelected });
  };
  const limit = signal(MOST_LISTED);
  const listed = computed(() => paths.value.slice(0, limit.value));
  const list = el("ol", { class: "nodes" }, each(() => listed.value, (path) => path, item));
  const more = () => paths.value.length <= limit.value ? null : moreButton(() => (limit.value *= 2));
  const element = el("div", {}, list, more);
  return {
    element,
    show(present) {
      nodes.clear();
      paths.value = [];
      present.forEach(enter);
      paths.value = [...present];
    },
    add(path) {
      enter(path);
      paths.value = [...paths.peek(), path];
    },
    touch(path) {
      const node = nodes.get(path);
      if (node !== undefined) node.value = shown(path);
    },
    select(path) {
      selected.value = path;
      const index = path === null ? -1 : paths.peek().indexOf(path);
      limit.value = Math.max(limit.peek(), index + 1);
      list.children[index]?.scrollIntoView({ block: "nearest" });
    },
    fit() {
      element.scrollIntoView({ block: "start" });
    },
  };
}

/** @param {() => void} click */
function moreButton(click) {
  return el("button", { type: "button", on: { click } }, t("more"));
}

/**
 * @param {LiveNode} node
 * @param {string} path
 * @param {Around & { isSelected: () => boolean }} around
 */
function nodeItem(node, path, { isSelected, nodeAt, hrefOf, wayIn, answerAt }) {
  const status = computed(() => node.value.state.status ?? "pending");
  const hasText = computed(() => node.value.stream !== null);
  const output = computed(() => node.value.state.output);
  const [title, more] = namesOf(nodeAt(path), path);
  const head = el(
    "h3",
    { id: `node-${encodeURIComponent(path)}` },
    el("a", { href: hrefOf(path) }, el("bdi", { class: "node-name" }, title)),
    () => stateBadge(status.value),
    more === "" ? null : el("span", { class: "node-more quiet" }, more),
  );
  return el(
    "li",
    {
      class: () => `node node-${status.value}`,
      "aria-current": () => isSelected() ? "true" : null,
      "data-path": path,
    },
    head,
    () => facts(node.value),
    () => isAsking(node.value.state) ? el("a", { href: answerAt(path) }, t("answerNow")) : null,
    () => {
      status.value; // a node that begins may turn out to have others inside
      const address = wayIn(path);
      return address === null ? null : el("a", { href: address }, t("inside"));
    },
    () => complaints(node.value),
    () => hasText.value ? streamed(node, path) : null,
    () => output.value === undefined ? null : outputDetails(output.value),
  );
}

/**
 * The name that its author gave it, and beside it path and type: the graph shows the same.
 * @param {{ title: string, type: string } | null} node
 * @param {string} path
 */
function namesOf(node, path) {
  const id = path.slice(path.lastIndexOf("/") + 1);
  const isNamed = node !== null && node.title !== id;
  const more = [isNamed ? path : "", node?.type.replace(/^core:/, "") ?? ""].filter((one) => one !== "");
  return [name(isNamed ? node.title : path), name(more.join(" · "))];
}

/** Attempts, times, progress, waits: what changes while a node runs. @param {NodeShown} node */
function facts({ state }) {
  const said = [
    state.reused ? t("reused") : null,
    state.cached ? t("fromCache") : null,
    (state.attempts ?? 1) > 1 ? t("attempt", { n: state.attempts ?? 1 }) : null,
    state.progress ? t("progress", state.progress) : null,
    state.wait ? t("waitsFor", { what: waitedFor(state.wait) }) : null,
    state.nextAttemptAt ? t("nextAttempt", { at: moment(state.nextAttemptAt) }) : null,
    state.status === "skipped" && state.reason ? t("skippedBecause", { reason: skipReason(state.reason) }) : null,
    state.startedAt && state.endedAt ? duration(Date.parse(state.endedAt) - Date.parse(state.startedAt)) : null,
  ].filter((one) => one !== null);
  return said.length === 0 ? null : el("ul", { class: "facts" }, ...said.map((one) => el("li", {}, one)));
}

/** @param {NodeShown} node @returns {Plain[]} */
function complaints({ state }) {
  const warnings = (state.warnings ?? []).map((one) => el("li", {}, verbatim(one.message)));
  return [
    state.error ? el("p", { class: "error" }, verbatim(state.error.message)) : null,
    state.lastError
      ? el("p", { class: "warning" }, t("lastError"), verbatim(": "), verbatim(state.lastError.message))
      : null,
    warnings.length > 0 ? el("ul", { class: "warning", "aria-label": t("warnings") }, ...warnings) : null,
  ];
}

/**
 * @param {LiveNode} node
 * @param {string} path
 */
function streamed(node, path) {
  const stream = () => node.value.stream ?? { text: "", epoch: 0 };
  return growingText(stream, t("streamedText", { node: name(path) }), (run) => effect(run));
}

/** What a node gave is drawn when somebody opens it: a run has thousands. @param {Record<string, unknown>} output */
function outputDetails(output) {
  const isOpen = signal(false);
  const details = el(
    "details",
    { on: { toggle: () => (isOpen.value = details.open) } },
    el("summary", {}, t("outputs")),
    () => isOpen.value ? Object.entries(output).map(([slot, value]) => valueBox(slot, value)) : null,
  );
  return details;
}
