/**
 * Where nodes go when nobody has placed them: layers from left to right by the longest path, ordered inside by the
 * middle of their neighbours. Pure, and linear but for the sorting.
 */

/** @typedef {{ source: number, target: number }} Link */
/** @typedef {[x: number, y: number]} Place */

const COLUMN = 280;
const ROW = 140;
const SWEEPS = 4;
/** A layer that is higher goes into several columns: 1,000 nodes without edges are no line. */
const MOST_ROWS = 24;

/**
 * @param {number} count
 * @param {readonly Link[]} links
 * @returns {Place[]} By index; the same for the same graph.
 */
export function layered(count, links) {
  const layers = ordered(longestPaths(count, links), links);
  const rows = Math.max(MOST_ROWS, Math.ceil(Math.sqrt(count)));
  /** @type {Place[]} */
  const places = new Array(count);
  let column = 0;
  for (const layer of layers) {
    for (let from = 0; from < layer.length; from += rows, column++) {
      const part = layer.slice(from, from + rows);
      part.forEach((node, row) => (places[node] = [column * COLUMN, (row - (part.length - 1) / 2) * ROW]));
    }
  }
  return places;
}

/**
 * The layer of each node: one more than the highest of those that feed it. A cycle, which no run has, is no reason to fail.
 * @param {number} count
 * @param {readonly Link[]} links
 * @returns {number[][]} Layers, each with its nodes.
 */
export function longestPaths(count, links) {
  const [next, waits] = [lists(count), new Array(count).fill(0)];
  for (const { source, target } of links) {
    next[source]?.push(target);
    waits[target]++;
  }
  const depth = new Array(count).fill(0);
  const ready = Array.from(waits.keys()).filter((node) => waits[node] === 0);
  for (const node of ready) {
    for (const after of next[node] ?? []) {
      depth[after] = Math.max(depth[after], depth[node] + 1);
      if (--waits[after] === 0) ready.push(after);
    }
  }
  /** @type {number[][]} */
  const layers = [];
  depth.forEach((layer, node) => (layers[layer] ??= []).push(node));
  return Array.from(layers, (layer) => layer ?? []);
}

/**
 * Order each layer by the middle (barycentre) of its neighbours, forth and back.
 * @param {number[][]} layers
 * @param {readonly Link[]} links
 */
function ordered(layers, links) {
  const count = layers.reduce((sum, layer) => sum + layer.length, 0);
  const [before, next] = [lists(count), lists(count)];
  for (const { source, target } of links) {
    before[target]?.push(source);
    next[source]?.push(target);
  }
  const row = new Array(count).fill(0);
  const settle = (/** @type {number[]} */ layer) =>
    layer.forEach((node, at) => (row[node] = at - (layer.length - 1) / 2));
  layers.forEach(settle);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const neighbours = sweep % 2 === 0 ? before : next;
    for (const layer of sweep % 2 === 0 ? layers : [...layers].reverse()) {
      const middle = new Map(layer.map((node) => [node, mean(neighbours[node] ?? [], row, row[node])]));
      layer.sort((one, other) => (middle.get(one) ?? 0) - (middle.get(other) ?? 0));
      settle(layer);
    }
  }
  return layers;
}

/** @param {readonly number[]} nodes @param {readonly number[]} row @param {number} otherwise */
function mean(nodes, row, otherwise) {
  if (nodes.length === 0) return otherwise;
  return nodes.reduce((sum, node) => sum + (row[node] ?? 0), 0) / nodes.length;
}

/** @param {number} count @returns {number[][]} */
function lists(count) {
  return Array.from({ length: count }, () => []);
}
