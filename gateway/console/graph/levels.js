/**
 * Where in a run one is: its graph, the graph of a group in it, the items of a repetition, or the graph of one item.
 * `?in=outer/each/3` in the address says so. Without the document of a run its events tell what there is.
 */

import { graphOf, graphOfPaths } from "./document.js";

/** @typedef {import("./document.js").Graph} Graph */
/** @typedef {Record<string, unknown>} Json */
/** A step on the way. `item`: it is that item of a repetition. @typedef {{ path: string, title: string, item: number | null }} Crumb */
/**
 * `prefix` stands before the ids of its nodes in paths. `isKept`: the graph is that of the document; else it grows with
 * the events. `items` has no graph.
 * @typedef {{ kind: "graph" | "items", prefix: string, graph: Graph, crumbs: readonly Crumb[], isKept: boolean }} Level
 */
/** Null: it is not kept. @typedef {(path: string) => Promise<Json | null>} FetchDocument */

/**
 * Where a node is shown, or where somebody asked to be.
 * @param {Readonly<Record<string, string>>} filters Of the address.
 */
export function placeOf(filters) {
  if (filters.in !== undefined) return filters.in;
  return parentOf(filters.node ?? "");
}

/** @param {string} path */
export function parentOf(path) {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

/**
 * @param {string} place
 * @param {FetchDocument} fetchDocument By the path of the group.
 * @param {() => readonly string[]} paths All that events have told of.
 * @returns {Promise<Level>}
 */
export async function levelAt(place, fetchDocument, paths) {
  const parts = place === "" ? [] : place.split("/");
  let document = await fetchDocument("");
  /** @type {Crumb[]} */
  const crumbs = [];
  /** @type {string[]} */
  const groups = [];
  for (let at = 0; at < parts.length && document !== null; at++) {
    const graph = graphOf(document);
    const node = graph.nodes[graph.index.get(parts[at] ?? "") ?? -1];
    crumbs.push({ path: parts.slice(0, at + 1).join("/"), title: node?.title ?? parts[at] ?? "", item: null });
    groups.push(parts[at] ?? "");
    if (node?.kind === "each" || node?.kind === "loop") {
      const item = parts[++at];
      if (item === undefined) return items(place, crumbs);
      crumbs.push({ path: parts.slice(0, at + 1).join("/"), title: "", item: Number(item) });
      groups.push("0"); // all items share one document, whatever the number
    }
    document = await fetchDocument(groups.join("/"));
  }
  if (document === null) return guessedLevel(place, paths());
  const prefix = place === "" ? "" : `${place}/`;
  return { kind: "graph", prefix, graph: graphOf(document), crumbs, isKept: true };
}

/** @param {string} place @param {Crumb[]} crumbs @returns {Level} */
function items(place, crumbs) {
  return { kind: "items", prefix: `${place}/`, graph: graphOf({}), crumbs, isKept: true };
}

/**
 * What events tell of a place. A node whose inner paths all begin with a number is taken for a repetition.
 * @param {string} place
 * @param {readonly string[]} paths
 * @returns {Level}
 */
export function guessedLevel(place, paths) {
  const parts = place === "" ? [] : place.split("/");
  /** @type {Crumb[]} */
  const crumbs = [];
  let kind = "group";
  for (const [at, part] of parts.entries()) {
    const path = parts.slice(0, at + 1).join("/");
    const isItem = kind === "each";
    const above = graphOfPaths(paths, at === 0 ? "" : `${parts.slice(0, at).join("/")}/`);
    kind = isItem ? "group" : above.nodes[above.index.get(part) ?? -1]?.kind ?? "group";
    crumbs.push({ path, title: isItem ? "" : part, item: isItem ? Number(part) : null });
  }
  const prefix = place === "" ? "" : `${place}/`;
  if (kind === "each") return { ...items(place, crumbs), isKept: false };
  return { kind: "graph", prefix, graph: graphOfPaths(paths, prefix), crumbs, isKept: false };
}
