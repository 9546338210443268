/** One run: how it stands, what it gave, and its nodes with what they say. */

import { change, GatewayError } from "../api/rest.js";
import { nodeList } from "../graph/list.js";
import { complaintPlace } from "../lib/complaint.js";
import { openDialog } from "../lib/dialog.js";
import { name } from "../lib/format.js";
import { href } from "../lib/router.js";
import { stateBadge, stateWord } from "../lib/state.js";
import { growingText, isPlaceholder, namedBox, valueBox } from "../lib/values.js";
import { computed, each, effect, el, onEnd, untracked, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { FINAL } from "../run/project.js";
import { RunStore } from "../run/store.js";
import { nodePanel } from "./node_panel.js";
import { rerunBox, rerunFrom } from "./rerun.js";
import { eventsView } from "./run_events.js";
import { answerHint, runFacts } from "./run_facts.js";
import { graphView, items } from "./run_graph.js";
import { answerHref, contentAt, crumbs, followLevel, hrefIn } from "./run_level.js";
import { nameOf } from "./run_row.js";
import { timelineView } from "./run_timeline.js";

/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {import("../lib/view.js").Plain} Plain */
/** @typedef {import("../lib/words.js").Word} Word */
/** What a view shows. @typedef {{ id: string, store: RunStore, filters: () => Readonly<Record<string, string>> }} Run */
/** @typedef {{ word: Word, make: (run: Run) => Plain[] }} View */

/** The views of a run by the last part of its address. @type {ReadonlyMap<string, View>} */
const VIEWS = new Map(
  /** @type {[string, View][]} */ ([
    ["", { word: "viewList", make: listView }],
    ["graph", { word: "viewGraph", make: graphView }],
    ["timeline", { word: "viewTimeline", make: timelineView }],
    ["outputs", { word: "outputs", make: ({ store }) => [el("div", {}, outputs(store))] }],
    ["events", { word: "viewEvents", make: eventsView }],
  ]),
);

/** @param {import("./page.js").PageContext} context @returns {import("./page.js").Page} */
export function runPage({ socket, parameters, view, filters }) {
  const id = parameters.id ?? "";
  const store = new RunStore(id, socket);
  onEnd(() => store.close());
  const title = computed(() => store.summary.value === null ? t("run") : nameOf(store.summary.value));
  const content = el(
    "div",
    { class: "page run-page" },
    el("h1", { tabindex: "-1" }, el("bdi", {}, title), () => badge(store)),
    () => problem(store),
    () => store.isCaughtUp.value || store.problem.value !== null ? null : el("p", { class: "quiet" }, t("loading")),
    runFacts(store, id),
    buttons(store, id),
    answerHint(store, id),
    () => errorBox(store, (node) => hrefIn(id, view(), { node })),
    rerunBox(store, id),
    views(id, view, filters),
    panelPlace({ id, store, filters }),
    () => {
      const make = VIEWS.get(view())?.make ?? listView;
      return untracked(() => make({ id, store, filters }));
    },
  );
  return { title: () => tabTitle(store, title.value), content };
}

/**
 * Another view shows the same place.
 * @param {string} id
 * @param {() => string} view
 * @param {Run["filters"]} filters
 */
function views(id, view, filters) {
  const place = () => ({ in: filters().in ?? "", node: filters().node ?? "" });
  const link = (/** @type {string} */ part, /** @type {Word} */ word) => {
    const isHere = () => (view() === part ? "page" : null);
    return el("li", {}, el("a", { href: () => hrefIn(id, part, place()), "aria-current": isHere }, t(word)));
  };
  const links = [...VIEWS].map(([part, { word }]) => link(part, word));
  return el("nav", { class: "views", "aria-label": t("views") }, el("ul", {}, ...links));
}

/** @param {Run} run @returns {Plain[]} */
function listView(run) {
  return [outputs(run.store), nodes(run)];
}

/**
 * The node that the address names, closely. It gets the focus when somebody opens it, and gives it back.
 * @param {Run} run
 */
function panelPlace(run) {
  const path = computed(() => run.filters().node ?? "");
  let isFirst = true;
  /** @type {Element | null} */
  let opener = null;
  setTimeout(() => (isFirst = false));
  return () => {
    const node = path.value;
    if (node === "") {
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus({ preventScroll: true });
      opener = null;
      return null;
    }
    const { panel, heading } = untracked(() => nodePanel(run, node));
    if (!isFirst) {
      opener ??= document.activeElement;
      queueMicrotask(() => heading.focus({ preventScroll: true }));
    }
    return panel;
  };
}

/**
 * @param {RunStore} store
 * @param {Shown} name
 */
function tabTitle(store, name) {
  const status = store.status.value;
  return status === null ? name : verbatim(`${stateWord(status)} · ${name}`);
}

/** @param {RunStore} store */
function badge(store) {
  const status = store.status.value;
  return status === null ? null : el("span", { role: "status" }, stateBadge(status));
}

/** @param {RunStore} store */
function problem(store) {
  const error = store.problem.value;
  if (error === null) return null;
  const isGone = error instanceof GatewayError && error.code === "run_not_found";
  const said = el("p", { class: "error", role: "alert" }, isGone ? t("runNotFound") : verbatim(error.message));
  return [said, el("p", {}, el("a", { href: href(["runs"]) }, t("allRuns")))];
}

/**
 * @param {RunStore} store
 * @param {string} id
 */
function buttons(store, id) {
  const { attempt, place } = complaintPlace();
  const ask = (/** @type {string} */ action) =>
    attempt(() => change("POST", `api/prompt/${encodeURIComponent(id)}/${action}`));
  const stop = async () => {
    if (await openDialog(t("stopRun"), [el("p", {}, t("stopRunHint"))], { action: t("stop") })) await ask("interrupt");
  };
  const button = (/** @type {Shown} */ word, /** @type {() => void} */ click) =>
    el("button", { type: "button", on: { click } }, word);
  const fitting = () => {
    const status = store.status.value;
    if (status !== null && FINAL.has(status)) return [button(t("rerun"), () => rerunFrom(id, []))];
    if (status === null || status === "interrupting") return [];
    const other = status === "paused"
      ? button(t("resume"), () => ask("resume"))
      : button(t("pause"), () => ask("pause"));
    return [other, button(t("stop"), stop)];
  };
  return el(
    "div",
    { class: "actions" },
    fitting,
    place,
  );
}

/**
 * Why the run failed, and the way to each node that did.
 * @param {RunStore} store
 * @param {(node: string) => string} hrefOf
 */
function errorBox(store, hrefOf) {
  const error = store.errorInfo.value;
  if (error === null) return null;
  const code = el("code", {}, verbatim(error.code));
  const failed = (error.nodes ?? []).map(({ nodeId, message }) => {
    const way = el("a", { href: hrefOf(nodeId) }, el("bdi", {}, name(nodeId)));
    return el("li", {}, way, verbatim(": "), verbatim(message));
  });
  const list = failed.length === 0 ? null : el("ul", { "aria-label": t("failedNodes") }, ...failed);
  return el(
    "section",
    { class: "error-box" },
    el("h2", {}, t("error")),
    // Of one node the list says it all, and leads there.
    failed.length === 1 ? null : el("p", {}, verbatim(error.message)),
    list,
    code,
  );
}

/** @param {RunStore} store */
function outputs(store) {
  const slots = computed(() => [
    ...new Set([...store.outputStreams.value.keys(), ...Object.keys(store.outputs.value ?? {})]),
  ]);
  const isOver = computed(() => FINAL.has(store.status.value ?? ""));
  const none = () => isOver.value ? t("noOutputs") : t("noOutputsYet");
  const hint = () => slots.value.length === 0 ? el("p", { class: "quiet" }, none) : null;
  const list = each(() => slots.value, (slot) => slot, (_slot, slot) => output(store, slot));
  return el("section", { class: "outputs", "aria-label": t("outputs") }, el("h2", {}, t("outputs")), hint, list);
}

/**
 * A streamed output is what came of it, unless not all of it is here: then the result has it.
 * @param {RunStore} store
 * @param {string} slot
 */
function output(store, slot) {
  const stream = () => store.outputStreams.value.get(slot) ?? { text: "", epoch: 0, isCut: false };
  const isStreamed = computed(() => store.outputStreams.value.has(slot) && !(stream().isCut && store.view.isFinal));
  const value = computed(() => {
    const told = outputOf(store.outputs.value, slot);
    return isPlaceholder(told) ? outputOf(store.summary.value?.outputs, slot) : told;
  });
  return el("div", { class: "output", "data-slot": slot }, () => {
    if (!isStreamed.value) return value.value === undefined ? null : valueBox(slot, value.value);
    return untracked(() => streamBox(slot, stream));
  });
}

/**
 * A slot may be called `constructor`, which every object has.
 * @param {Record<string, unknown> | null | undefined} outputs
 * @param {string} slot
 */
function outputOf(outputs, slot) {
  return outputs && Object.hasOwn(outputs, slot) ? outputs[slot] : undefined;
}

/**
 * @param {string} slot
 * @param {() => { text: string, epoch: number }} stream
 */
function streamBox(slot, stream) {
  const text = growingText(stream, t("valueOf", { slot: name(slot) }), effect);
  return namedBox(slot, text, () => stream().text);
}

/** The nodes of one place as a list: the twin of the graph. @param {Run} run */
function nodes(run) {
  const { id, store } = run;
  const level = followLevel(run);
  const count = () => {
    const now = level.value;
    if (now === null || now.kind === "items") return null;
    // A kept graph also has the nodes that have not begun, and so has the list.
    const n = now.isKept ? now.graph.nodes.length : store.nodeCount.value;
    return el("p", { class: "quiet" }, n === 0 ? t("noNodes") : t("nodeCount", { n }));
  };
  const way = () => level.value === null ? null : crumbs(level.value, (path) => hrefIn(id, "", { in: path }));
  const content = contentAt(level, (now) => levelList(run, now, level));
  return el("section", { "aria-label": t("nodes") }, el("h2", {}, t("nodes")), way, count, content);
}

/**
 * @param {Run} run
 * @param {import("../graph/levels.js").Level} now
 * @param {import("./run_level.js").LiveLevel} level
 */
function levelList(run, now, level) {
  const { id, store, filters } = run;
  if (now.kind === "items") return items(run, now, "");
  const { prefix } = now;
  const isHere = (/** @type {string} */ path) => path.startsWith(prefix) && !path.slice(prefix.length).includes("/");
  const nodeAt = (/** @type {string} */ path) => {
    const { nodes, index } = level.peek()?.graph ?? now.graph;
    return nodes[index.get(path.slice(prefix.length)) ?? -1] ?? null;
  };
  const wayIn = (/** @type {string} */ path) => {
    const node = nodeAt(path);
    return node === null || node.kind === "node" ? null : hrefIn(id, "", { in: path });
  };
  const hrefOf = (/** @type {string} */ path) => hrefIn(id, "", { in: prefix.slice(0, -1), node: path });
  const list = nodeList((path) => store.shown(path), {
    hrefOf,
    wayIn,
    nodeAt,
    answerAt: (path) => answerHref(id, path),
  });
  // Nodes that have not begun are in the graph, and so are they here.
  const graphs = now.graph.nodes.map((node) => prefix + node.id);
  /** @type {Set<string>} */
  let listed = new Set();
  const touch = (/** @type {string} */ path) => {
    if (listed.has(path)) list.touch(path);
    else if (isHere(path)) list.add(path);
    if (isHere(path)) listed.add(path);
  };
  const show = (/** @type {readonly string[]} */ paths) => {
    listed = new Set([...paths.filter(isHere), ...graphs]);
    list.show([...listed]);
  };
  onEnd(store.watch({ show, add: touch, touch }));
  effect(() => {
    const path = filters().node ?? null;
    if (store.isCaughtUp.value) untracked(() => list.select(path));
  });
  return list.element;
}
