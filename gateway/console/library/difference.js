/** What differs between two versions of a workflow: as rows of a table, and as one graph of both. Pure. */

import { graphOf } from "../graph/document.js";
import { edgesOf, endsOf, nodesOf } from "../lib/documents.js";

/** @typedef {import("../graph/document.js").Graph} Graph */
/** @typedef {import("../lib/documents.js").Json} Json */
/** @typedef {Record<string, { from: unknown, to: unknown }>} Changes By their paths inside the part. */
/** @typedef {{ added: string[], removed: string[], changed: { id: string, changes: Changes }[] }} PartsDiff */
/**
 * @typedef {{
 *   from: number, to: number,
 *   nodes: PartsDiff, edges: PartsDiff, inputs: PartsDiff, outputs: PartsDiff, document: Changes,
 * }} WorkflowDiff
 */
/** @typedef {"added" | "removed" | "changed"} How */
/** @typedef {"nodes" | "edges" | "inputs" | "outputs" | "document"} Part */
/** `path` and what follows: of what changed. @typedef {{ part: Part, how: How, id: string, path: string, from: unknown, to: unknown }} Row */

/** @type {readonly ("nodes" | "edges" | "inputs" | "outputs")[]} */
const PARTS = ["inputs", "outputs", "nodes", "edges"];

/**
 * @param {WorkflowDiff} difference
 * @returns {Row[]}
 */
export function rowsOf(difference) {
  const rows = PARTS.flatMap((part) => {
    const { added, removed, changed } = difference[part];
    return [
      ...added.map((id) => whole(part, "added", id)),
      ...removed.map((id) => whole(part, "removed", id)),
      ...changed.flatMap(({ id, changes }) => changedRows(part, id, changes)),
    ];
  });
  return [...rows, ...changedRows("document", "", difference.document)];
}

/** @param {Part} part @param {How} how @param {string} id @returns {Row} */
function whole(part, how, id) {
  return { part, how, id, path: "", from: undefined, to: undefined };
}

/** @param {Part} part @param {string} id @param {Changes} changes @returns {Row[]} */
function changedRows(part, id, changes) {
  return Object.entries(changes).map(([path, { from, to }]) => ({ part, how: "changed", id, path, from, to }));
}

/**
 * Both versions as one graph: what is gone stands in it as well.
 * @param {Json} before
 * @param {Json} after
 * @param {WorkflowDiff} difference
 * @returns {{ graph: Graph, marks: ReadonlyMap<string, How> }} `marks`: by the ids of nodes; what stayed has none.
 */
export function graphOfBoth(before, after, difference) {
  const { added, removed, changed } = difference.nodes;
  /** @type {Map<string, How>} */
  const marks = new Map([
    ...added.map((id) => /** @type {[string, How]} */ ([id, "added"])),
    ...removed.map((id) => /** @type {[string, How]} */ ([id, "removed"])),
    ...changed.map(({ id }) => /** @type {[string, How]} */ ([id, "changed"])),
  ]);
  const gone = nodesOf(before).filter((node) => marks.get(String(node.id)) === "removed");
  const goneIds = new Set(gone.map((node) => String(node.id)));
  const edges = edgesOf(before).filter((edge) => {
    const { source, target } = endsOf(edge);
    return goneIds.has(source) || goneIds.has(target);
  });
  const both = { nodes: [...nodesOf(after), ...gone], edges: [...edgesOf(after), ...edges] };
  return { graph: graphOf(both), marks };
}
