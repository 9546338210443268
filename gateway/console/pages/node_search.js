/** Node types as the gateway tells of them, and what a search finds among them. */

/**
 * A slot of a node type, or one of its settings.
 * @typedef {{
 *   dataFlowType: string, displayName?: string, description?: string, matchCategories?: string[], isStream?: boolean,
 *   required?: boolean | Record<string, unknown>, multi?: boolean, config?: Record<string, unknown>, secret?: boolean,
 * }} Slot
 */
/**
 * The slots of a node type, or of one of its modes.
 * @typedef {{ inputs: Record<string, Slot>, outputs: Record<string, Slot>, configSchema?: Record<string, Slot> }} Slots
 */
/**
 * @typedef {Slots & {
 *   type: string, namespace: string, fullType: string, category: string, displayName: string, description: string,
 *   placement: string, version: string, displayNames?: Record<string, string>, deterministic?: boolean,
 *   isPreviewUnsafe?: boolean, modes?: Record<string, Slots & { displayName: string, description: string }>,
 * }} NodeType
 */

/**
 * @param {NodeType} node
 * @param {string} language
 */
export function ownName(node, language) {
  const names = new Map(Object.entries(node.displayNames ?? {}));
  return names.get(language) ?? names.get(language.split("-")[0] ?? "") ?? node.displayName;
}

/**
 * The node types that have every word of a search somewhere: in a name, the description, the category, a slot.
 * @param {readonly NodeType[]} nodes
 * @param {string} query
 */
export function found(nodes, query) {
  const words = query.toLowerCase().split(/\s+/).filter((word) => word !== "");
  return nodes.filter((node) => {
    const text = searched(node);
    return words.every((word) => text.includes(word));
  });
}

/** @param {NodeType} node */
function searched(node) {
  const slots = [node.inputs, node.outputs, node.configSchema ?? {}].flatMap((part) => Object.keys(part));
  const names = [node.fullType, node.displayName, ...Object.values(node.displayNames ?? {})];
  return [...names, node.category, node.description, ...slots].join("\n").toLowerCase();
}

/**
 * Node types by category; both in the order of their names.
 * @param {readonly NodeType[]} nodes
 * @returns {{ category: string, nodes: NodeType[] }[]}
 */
export function byCategory(nodes) {
  /** @type {Map<string, NodeType[]>} */
  const groups = new Map();
  for (const node of nodes) groups.set(node.category, [...groups.get(node.category) ?? [], node]);
  const sorted = [...groups].sort(([one], [other]) => one.localeCompare(other));
  return sorted.map(([category, members]) => ({
    category,
    nodes: members.sort((one, other) => one.displayName.localeCompare(other.displayName)),
  }));
}
