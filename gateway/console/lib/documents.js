/** Documents of workflows as somebody wrote them: both forms are read, and what is no node or edge is left out. Pure. */

/** @typedef {Readonly<Record<string, unknown>>} Json */

/**
 * @param {Json} document
 * @returns {Json[]}
 */
export function nodesOf({ nodes }) {
  return objects(nodes);
}

/**
 * @param {Json} document
 * @returns {Json[]}
 */
export function edgesOf({ edges }) {
  return objects(edges);
}

/** @param {unknown} value @returns {Json[]} */
function objects(value) {
  if (!Array.isArray(value)) return [];
  return value.filter((one) => typeof one === "object" && one !== null && !Array.isArray(one));
}

/**
 * The ids of the nodes at both ends of an edge. Of two names for one the gateway takes the same as we do.
 * @param {Json} edge
 */
export function endsOf({ sourceNodeId, source, targetNodeId, target }) {
  return { source: String(sourceNodeId ?? source), target: String(targetNodeId ?? target) };
}

/** @param {Json} node */
export function typeOf({ fullType, type }) {
  return String(fullType ?? type ?? "");
}
