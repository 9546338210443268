/**
 * A document as a graph to draw: pure. Both forms of workflows are read; what is not a node or an edge is left out.
 *
 * Ids are names that others gave, `__proto__` among them: they are keys of maps, never of objects.
 */

import { edgesOf, endsOf, nodesOf, typeOf } from "../lib/documents.js";
import { layered } from "./layout.js";

/** @typedef {import("../lib/documents.js").Json} Json */
/** `group` holds one graph, `each` and `loop` hold one per item or round. @typedef {"node" | "group" | "each" | "loop"} Kind */
/** @typedef {{ id: string, title: string, type: string, kind: Kind, x: number, y: number }} GraphNode */
/**
 * An edge between nodes by their index. Where it leaves and enters: a part of the node's height, from 0 to 1.
 * @typedef {{ source: number, target: number, leaves: number, enters: number }} GraphEdge
 */
/**
 * `next` and `before`: the indexes of the nodes that a node feeds, and of those that feed it.
 * @typedef {{
 *   nodes: readonly GraphNode[], edges: readonly GraphEdge[], index: ReadonlyMap<string, number>,
 *   next: readonly (readonly number[])[], before: readonly (readonly number[])[],
 * }} Graph
 */
/** @typedef {{ source: number, target: number, from: string, into: string }} Link */

export const NODE_WIDTH = 200;
export const NODE_HEIGHT = 104;

/** @type {ReadonlyMap<string, Kind>} */
const KINDS = new Map([["core:NodeGroup", "group"], ["core:ForEach", "each"], ["core:Loop", "loop"]]);
/** Boxes of the editor that never run. */
const FRAME = "core:frame";
/** Positions beyond are no drawing. */
const FARTHEST = 1e6;

/**
 * @param {Json} document
 * @returns {Graph}
 */
export function graphOf(document) {
  const raw = nodesOf(document).filter((node) => typeOf(node) !== FRAME);
  const index = new Map(raw.map((node, at) => [String(node.id), at]));
  const links = edgesOf(document).flatMap((edge) => linkOf(edge, index));
  const places = positions(raw) ?? layered(raw.length, links);
  const nodes = raw.map((node, at) => {
    const [x, y] = places[at] ?? [0, 0];
    return { id: String(node.id), title: titleOf(node), type: typeOf(node), kind: kindOf(node), x, y };
  });
  return { nodes, edges: withSlots(links), index, ...neighbours(nodes.length, links) };
}

/**
 * The graph of a run whose document is not kept: its nodes as far as events told of them, without edges.
 * @param {readonly string[]} paths All paths of the run.
 * @param {string} prefix "" or a path that ends with "/".
 * @returns {Graph}
 */
export function graphOfPaths(paths, prefix) {
  /** @type {Map<string, Kind>} */
  const found = new Map();
  for (const path of paths) {
    if (!path.startsWith(prefix)) continue;
    const [id = "", inner] = path.slice(prefix.length).split("/", 2);
    const known = found.get(id) ?? "node";
    if (inner === undefined) found.set(id, known);
    else found.set(id, known === "group" || !/^\d+$/.test(inner) ? "group" : "each");
  }
  const raw = [...found];
  const places = layered(raw.length, []);
  const nodes = raw.map(([id, kind], at) => {
    const [x, y] = places[at] ?? [0, 0];
    return { id, title: id, type: "", kind, x, y };
  });
  const index = new Map(nodes.map(({ id }, at) => [id, at]));
  return { nodes, edges: [], index, ...neighbours(nodes.length, []) };
}

/** @param {Json} node @returns {Kind} */
function kindOf(node) {
  return KINDS.get(typeOf(node)) ?? "node";
}

/** @param {Json} node */
function titleOf(node) {
  return typeof node.displayName === "string" && node.displayName !== "" ? node.displayName : String(node.id);
}

/**
 * @param {Json} edge
 * @param {ReadonlyMap<string, number>} index
 * @returns {Link[]} None when a node of it is not there.
 */
function linkOf(edge, index) {
  const ends = endsOf(edge);
  const [source, target] = [index.get(ends.source), index.get(ends.target)];
  if (source === undefined || target === undefined) return [];
  return [{ source, target, from: String(edge.sourceHandle), into: String(edge.targetHandle) }];
}

/**
 * Where the document puts its nodes; null when it does not say so for all, or puts one upon another.
 * @param {readonly Json[]} raw
 * @returns {[number, number][] | null}
 */
function positions(raw) {
  /** @type {[number, number][]} */
  const found = [];
  for (const { position } of raw) {
    const { x, y } = typeof position === "object" && position !== null ? /** @type {Json} */ (position) : {};
    if (typeof x !== "number" || typeof y !== "number" || !(Math.abs(x) + Math.abs(y) < FARTHEST)) return null;
    found.push([x, y]);
  }
  return new Set(found.map(String)).size === found.length ? found : null;
}

/**
 * Slots of a node are spread over its sides, in the order in which edges name them.
 * @param {readonly Link[]} links
 * @returns {GraphEdge[]}
 */
function withSlots(links) {
  /** @type {Map<string, Map<string, number>>} */
  const slots = new Map();
  const slot = (/** @type {string} */ side, /** @type {string} */ name) => {
    const known = slots.get(side) ?? new Map();
    slots.set(side, known);
    if (!known.has(name)) known.set(name, known.size);
    return () => ((known.get(name) ?? 0) + 1) / (known.size + 1);
  };
  const places = links.map(({ source, target, from, into }) => [slot(`>${source}`, from), slot(`<${target}`, into)]);
  return links.map(({ source, target }, at) => {
    const [leaves = () => 0.5, enters = () => 0.5] = places[at] ?? [];
    return { source, target, leaves: leaves(), enters: enters() };
  });
}

/**
 * @param {number} count
 * @param {readonly { source: number, target: number }[]} links
 */
function neighbours(count, links) {
  const next = Array.from({ length: count }, () => new Set(/** @type {number[]} */ ([])));
  const before = Array.from({ length: count }, () => new Set(/** @type {number[]} */ ([])));
  for (const { source, target } of links) {
    next[source]?.add(target);
    before[target]?.add(source);
  }
  return { next: next.map((one) => [...one]), before: before.map((one) => [...one]) };
}
