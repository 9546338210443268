/** Where an arrow key leads in a graph, and which nodes fit what somebody looks for: pure. */

/** @typedef {import("./document.js").Graph} Graph */

/** Sideways counts double, so that a column is walked before another one. */
const SIDEWAYS = 2;

/**
 * Left and right follow the edges: to the neighbour that is nearest in height. Up and down go to the nearest node above
 * or below.
 * @param {Graph} graph
 * @param {number} at Index of a node; -1: none yet.
 * @param {string} key `ArrowLeft`, ...
 * @returns {number} Index; `at` when there is nothing.
 */
export function neighbour(graph, at, key) {
  const here = graph.nodes[at];
  if (here === undefined) return leftmost(graph);
  if (key === "ArrowRight") return nearest(graph, at, graph.next[at] ?? []);
  if (key === "ArrowLeft") return nearest(graph, at, graph.before[at] ?? []);
  const isDown = key === "ArrowDown";
  const there = [...graph.nodes.keys()].filter((one) => {
    const y = graph.nodes[one]?.y ?? 0;
    return isDown ? y > here.y : y < here.y;
  });
  return nearest(graph, at, there);
}

/** @param {Graph} graph */
function leftmost({ nodes }) {
  let found = nodes.length === 0 ? -1 : 0;
  nodes.forEach((node, at) => {
    const best = nodes[found];
    if (best !== undefined && (node.x < best.x || (node.x === best.x && node.y < best.y))) found = at;
  });
  return found;
}

/**
 * @param {Graph} graph
 * @param {number} at
 * @param {readonly number[]} candidates
 */
function nearest({ nodes }, at, candidates) {
  const here = nodes[at];
  let [found, best] = [at, Infinity];
  for (const one of candidates) {
    const node = nodes[one];
    if (node === undefined || here === undefined) continue;
    const distance = Math.abs(node.y - here.y) + SIDEWAYS * Math.abs(node.x - here.x);
    if (distance < best) [found, best] = [one, distance];
  }
  return found;
}

/**
 * Nodes whose id, title or type has the text in it.
 * @param {Graph} graph
 * @param {string} text
 * @returns {number[]} Indexes.
 */
export function fitting({ nodes }, text) {
  const wanted = text.trim().toLowerCase();
  if (wanted === "") return [];
  const fits = (/** @type {string} */ one) => one.toLowerCase().includes(wanted);
  return [...nodes.keys()].filter((at) => {
    const node = nodes[at];
    return node !== undefined && (fits(node.title) || fits(node.id) || fits(node.type));
  });
}
