/** How two versions of a workflow differ: as a drawing of both, and as a table. */

import { GraphCanvas } from "../graph/canvas.js";
import { graphOf } from "../graph/document.js";
import { graphOfBoth, rowsOf } from "../library/difference.js";
import { differenceOf, documentOf } from "../library/workflows.js";
import { name } from "../lib/format.js";
import { loading, loadingHint } from "../lib/loading.js";
import { el, untracked, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";

/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {import("../lib/words.js").Word} Word */
/** @typedef {import("../graph/document.js").GraphNode} GraphNode */
/** @typedef {import("../graph/node.js").Face} Face */
/** @typedef {import("../library/difference.js").How} How */
/** @typedef {import("../library/difference.js").Row} Row */
/** @typedef {import("../library/workflows.js").Place} Place */
/** @typedef {{ from: number, to: number }} Pair */
/**
 * @typedef {{
 *   pair: Pair, rows: Row[], both: ReturnType<typeof graphOfBoth>,
 * }} Difference
 */

/** @type {Record<How | "same", { sign: string, word: Word, colour: import("../graph/node.js").Token | null }>} */
const MARKS = {
  added: { sign: "+", word: "added", colour: "good" },
  removed: { sign: "\u2212", word: "removed", colour: "bad" },
  changed: { sign: "~", word: "changed", colour: "wait" },
  same: { sign: "=", word: "unchanged", colour: null },
};
/** @type {Record<import("../library/difference.js").Part, Word>} */
const PARTS = { nodes: "aNode", edges: "anEdge", inputs: "anInput", outputs: "anOutput", document: "theDocument" };
const MOST_CHARS = 500;
const MOST_ROWS = 500;

/**
 * @param {import("../api/socket.js").GatewaySocket} socket
 * @param {Place} place
 * @param {import("../lib/view.js").Readable<Pair | null>} pair
 */
export function differenceView(socket, place, pair) {
  const found = loading(socket, () => difference(place, pair.value));
  return el(
    "section",
    { "aria-label": t("difference") },
    () => pair.value === null ? null : el("h2", {}, t("differenceOf", { ...pair.value })),
    () => pair.value === null ? null : el("div", {}, loadingHint(found)),
    () => {
      const now = found.value.value;
      return now === null ? null : untracked(() => shown(now));
    },
  );
}

/**
 * The graph of a version that is compared with none.
 * @param {import("../api/socket.js").GatewaySocket} socket
 * @param {Place} place
 * @param {number | undefined} version Undefined before it is known.
 */
export function onlyGraph(socket, place, version) {
  if (version === undefined) return null;
  const found = loading(socket, () => documentOf(place, version));
  const drawing = () => {
    const document = found.value.value;
    return document === null ? null : untracked(() => canvasOf(graphOf(document), t("graphOfWorkflow")).element);
  };
  const title = el("h2", {}, t("graphOfVersion", { n: version }));
  return el("section", { "aria-label": t("graphOfWorkflow") }, title, loadingHint(found), drawing);
}

/** A drawing without states. @param {import("../graph/document.js").Graph} graph @param {Shown} label */
function canvasOf(graph, label) {
  /** @type {(node: GraphNode) => Face} */
  const faceOf = (node) => ({ ...plainFace(node), sign: "", word: verbatim(""), colour: null });
  return new GraphCanvas({ graph, label, prefix: "", faceOf, open: () => {}, enter: () => {} });
}

/**
 * @param {Place} place
 * @param {Pair | null} pair
 * @returns {Promise<Difference | null>}
 */
async function difference(place, pair) {
  if (pair === null) return null;
  const { from, to } = pair;
  const [told, before, after] = await Promise.all([
    differenceOf(place, from, to),
    documentOf(place, from),
    documentOf(place, to),
  ]);
  return { pair, rows: rowsOf(told), both: graphOfBoth(before, after, told) };
}

/** @param {Difference} difference */
function shown({ rows, both }) {
  if (rows.length === 0) return el("p", { class: "quiet" }, t("noDifference"));
  const canvas = new GraphCanvas({
    graph: both.graph,
    label: t("differenceGraph"),
    prefix: "",
    faceOf: (node) => faceOf(node, both.marks.get(node.id)),
    open: (id) => rowOf(id)?.focus(),
    enter: () => {},
  });
  const body = el("tbody", {}, ...rows.slice(0, MOST_ROWS).map(tableRow));
  const rowOf = (
    /** @type {string} */ id,
  ) => /** @type {HTMLElement | undefined} */ ([...body.rows].find((row) => row.dataset.node === id));
  const columns = [t("part"), t("name"), t("state"), t("place"), t("before"), t("after")];
  const heads = columns.map((word) => el("th", { scope: "col" }, word));
  return [
    canvas.element,
    el(
      "div",
      { class: "wide", tabindex: "0", role: "group", "aria-label": t("difference") },
      el("table", {}, el("thead", {}, el("tr", {}, ...heads)), body),
    ),
    rows.length > MOST_ROWS ? el("p", {}, t("andMore", { n: rows.length - MOST_ROWS })) : null,
  ];
}

/**
 * @param {GraphNode} node
 * @param {How | undefined} how
 * @returns {Face}
 */
function faceOf(node, how) {
  const { sign, word, colour } = MARKS[how ?? "same"];
  return { ...plainFace(node), sign, word: t(word), colour };
}

/** @param {GraphNode} node */
function plainFace(node) {
  const type = name(node.type.replace(/^core:/, ""));
  return { title: name(node.title), type, badges: "", tail: "", part: null };
}

/** @param {Row} row */
function tableRow({ part, how, id, path, from, to }) {
  const { sign, word } = MARKS[how];
  return el(
    "tr",
    { class: `difference-${how}`, tabindex: "-1", "data-node": part === "nodes" ? id : null },
    el("td", {}, t(PARTS[part])),
    el("td", {}, el("bdi", {}, name(id))),
    el("td", {}, el("span", { "aria-hidden": "true" }, verbatim(`${sign} `)), t(word)),
    el("td", { class: "whole" }, el("code", {}, name(path))),
    el("td", {}, valueCode(from)),
    el("td", {}, valueCode(to)),
  );
}

/** @param {unknown} value */
function valueCode(value) {
  if (value === undefined || value === null) return null;
  const text = JSON.stringify(value);
  return el("code", {}, name(text.length > MOST_CHARS ? `${text.slice(0, MOST_CHARS)}…` : text));
}
