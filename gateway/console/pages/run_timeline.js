/** The nodes of a run over time: what queued, ran and waited. Only rows in sight are there. */

import { GatewayAway, GatewayError, getJson } from "../api/rest.js";
import { now } from "../lib/clock.js";
import { graphOf } from "../graph/document.js";
import { duration, moment, name } from "../lib/format.js";
import { labelled } from "../lib/labelled.js";
import { longList } from "../lib/rows.js";
import { setFilter, withFilters } from "../lib/router.js";
import { stateBadge, stateWord } from "../lib/state.js";
import { computed, effect, el, onEnd, signal, untracked, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { isShown, queued, scaleOf, sourcesOf } from "../run/timeline.js";
import { headOf } from "./node_panel.js";

/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {import("../lib/words.js").Word} Word */
/** @typedef {import("../run/timeline.js").Scale} Scale */
/** @typedef {import("../run/timeline.js").Span} Span */
/** @typedef {import("../run/store.js").RunStore} RunStore */
/** @typedef {import("../graph/document.js").Json} Json */
/** @typedef {{ begin: number, end: number | null, kind: string, said: Shown }} Bar */

const ROW_PIXELS = 44;
const EVERY_MS = 500;

/** @type {[string, Word][]} */
const CUTS = [["", "showAll"], ["failed", "showFailed"], ["waiting", "showWaiting"]];

/** @type {[string, Word][]} */
const LEGEND = [
  ["queue", "inQueue"],
  ["running", "running"],
  ["complete", "complete"],
  ["failed", "legendFailed"],
  ["wait", "waiting"],
];

/** @param {import("./run.js").Run} run */
export function timelineView({ id, store, filters }) {
  const pace = paced(store);
  const isCollapsed = computed(() => filters().idle === "short");
  const scale = computed(() => {
    pace.value;
    return scaleOf(store.timeline, now(), { isCollapsed: isCollapsed.value });
  });
  const { sources, titles } = loadedGraph(id);
  const paths = computed(() => {
    pace.value;
    const cut = filters().show ?? "";
    const all = [...store.timeline.nodes];
    return all.filter(([path, node]) => isShown(node, store.shown(path).state, cut)).map(([path]) => path);
  });
  const row = (/** @type {string} */ path) => timelineRow(store, path, { pace, scale, sources, titles });
  return [
    el(
      "section",
      { class: "timeline", "aria-label": t("viewTimeline") },
      el("h2", {}, t("viewTimeline")),
      cuts(filters),
      () => rangeText(scale.value),
      legend(),
      el("p", { class: "quiet" }, () => runStates(store, pace)),
      () => paths.value.length === 0 ? el("p", { class: "quiet" }, t("noNodeFits")) : null,
      longList({ label: t("nodes"), height: ROW_PIXELS, keys: () => paths.value, row }),
    ),
  ];
}

/**
 * A number that grows when something is to be drawn: a few times a second while the run goes on.
 * @param {RunStore} store
 */
function paced(store) {
  const pace = signal(0);
  let seen = -1;
  const look = () => {
    const isLive = !store.timeline.isOver && store.timeline.begin !== null;
    if (document.hidden || (seen === store.view.lastSeq && !isLive)) return;
    seen = store.view.lastSeq;
    pace.value = pace.peek() + 1;
  };
  const timer = setInterval(look, EVERY_MS);
  onEnd(() => clearInterval(timer));
  effect(() => {
    // The first picture, and the last one, at once.
    if (store.isCaughtUp.value) store.status.value;
    untracked(() => {
      seen = store.view.lastSeq;
      pace.value = pace.peek() + 1;
    });
  });
  return pace;
}

/**
 * What each node needs, and the names of nodes, as far as the graph is kept. Inside of groups nobody knows.
 * @param {string} id
 */
function loadedGraph(id) {
  const sources = signal(/** @type {ReadonlyMap<string, string[]>} */ (new Map()));
  const titles = signal(/** @type {ReadonlyMap<string, string>} */ (new Map()));
  const abort = new AbortController();
  onEnd(() => abort.abort());
  const load = async () => {
    try {
      /** @type {{ document: Parameters<typeof sourcesOf>[0] }} */
      const found = await getJson(`api/prompt/${encodeURIComponent(id)}/document`, { signal: abort.signal });
      sources.value = sourcesOf(found.document);
      titles.value = new Map(graphOf(/** @type {Json} */ (found.document)).nodes.map((node) => [node.id, node.title]));
    } catch (error) {
      if (!(error instanceof GatewayAway || error instanceof GatewayError || abort.signal.aborted)) throw error;
      // Of an older run it is not kept: then only what ran and waited is shown.
    }
  };
  load();
  return { sources, titles };
}

/** @param {() => Readonly<Record<string, string>>} filters */
function cuts(filters) {
  const options = CUTS.map(([value, word]) =>
    el("option", { value, selected: value === untracked(() => filters().show ?? "") }, t(word))
  );
  const select = el("select", { id: "timeline-show" }, ...options);
  select.addEventListener("change", () => setFilter("show", select.value));
  const short = el("input", { type: "checkbox", id: "timeline-idle" });
  short.checked = untracked(() => filters().idle === "short");
  short.addEventListener("change", () => setFilter("idle", short.checked ? "short" : ""));
  return el(
    "div",
    { class: "filters" },
    labelled(t("show"), select),
    el("label", {}, short, verbatim(" "), t("collapseIdle")),
  );
}

/** @param {Scale} scale */
function rangeText({ begin, end, gaps }) {
  const range = t("timelineRange", { begin: moment(begin), length: duration(end - begin) });
  const short = gaps.length === 0 ? null : t("idleShort", { n: gaps.length });
  return el("p", { class: "quiet" }, range, verbatim(" "), short);
}

/** What the bars mean. A row says the same in words. */
function legend() {
  const items = LEGEND.map(([kind, word]) => el("li", {}, el("span", { class: `key key-${kind}` }), t(word)));
  return el("ul", { class: "legend quiet", "aria-hidden": "true" }, ...items);
}

/**
 * How long the run itself queued or was paused.
 * @param {RunStore} store
 * @param {import("../lib/view.js").Readable<number>} pace
 */
function runStates(store, pace) {
  pace.value;
  const still = store.timeline.run.filter(({ status, end }) => (status === "queued" || status === "paused") && end);
  return still.map(({ status, begin, end }) =>
    el("span", { class: "row-text" }, stateWord(status), verbatim(" "), duration((end ?? begin) - begin))
  );
}

/**
 * @param {RunStore} store
 * @param {string} path
 * @param {{
 *   pace: import("../lib/view.js").Readable<number>, scale: import("../lib/view.js").Readable<Scale>,
 *   sources: import("../lib/view.js").Readable<ReadonlyMap<string, string[]>>,
 *   titles: import("../lib/view.js").Readable<ReadonlyMap<string, string>>,
 * }} drawn
 */
function timelineRow(store, path, { pace, scale, sources, titles }) {
  const status = computed(() => {
    pace.value;
    return store.shown(path).state.status ?? "pending";
  });
  const title = () => name(titles.value.get(path) ?? path);
  const link = el("a", { href: () => withFilters({ node: path }), title: name(path) }, el("bdi", {}, title));
  const bars = el("span", { class: "bars" }, () => {
    const now = scale.value;
    return barsOf(store, path, sources.value.get(path)).map((bar) => barElement(bar, now));
  });
  const said = () => {
    pace.value;
    return el("span", { class: "unseen" }, ...barsOf(store, path, sources.value.get(path)).map(spoken));
  };
  const took = () => {
    const { end: last } = scale.value;
    const spans = store.timeline.nodes.get(path)?.spans ?? [];
    const [first, final] = [spans[0], spans.at(-1)];
    return first === undefined ? null : duration((final?.end ?? last) - first.begin);
  };
  const state = el("span", { class: "row-state" }, () => stateBadge(status.value), said);
  return [link, state, bars, el("span", { class: "row-took", "aria-hidden": "true" }, took)];
}

/**
 * @param {RunStore} store
 * @param {string} path
 * @param {string[] | undefined} sources
 * @returns {Bar[]}
 */
function barsOf(store, path, sources) {
  const spans = store.timeline.nodes.get(path)?.spans ?? [];
  const queue = queued(store.timeline, path, sources);
  const first = queue === null ? [] : [{ ...queue, kind: "queue", said: t("inQueue") }];
  return [
    ...first,
    ...spans.map((span) => ({ begin: span.begin, end: span.end, kind: kindOf(span), said: headOf(span) })),
  ];
}

/** @param {Span} span */
function kindOf({ kind, outcome }) {
  if (kind !== "attempt") return "wait";
  if (outcome === "error" || outcome === "failed" || outcome === "lost") return "failed";
  return outcome === "complete" ? "complete" : "running";
}

/** @param {Bar} bar */
function spoken({ begin, end, said }) {
  const time = end === null ? t("since", { at: moment(begin) }) : duration(end - begin);
  return el("span", {}, t("barSaid", { what: said, time }));
}

/**
 * @param {Bar} bar
 * @param {Scale} scale
 */
function barElement({ begin, end, kind, said }, { at, end: last }) {
  const [from, to] = [at(begin), at(end ?? last)];
  const style = { "inset-inline-start": `${from * 100}%`, width: `${(to - from) * 100}%` };
  const time = duration((end ?? last) - begin);
  return el("span", {
    class: `bar bar-${kind}`,
    style,
    "aria-hidden": "true",
    title: t("barSaid", { what: said, time }),
  });
}
