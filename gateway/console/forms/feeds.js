/** Where the inputs of a workflow go inside it: which are secret, and whose a problem is. Pure. */

import { edgesOf, endsOf, nodesOf, typeOf } from "../lib/documents.js";

/** @typedef {import("./slots.js").Slot} Slot */
/** @typedef {import("../api/rest.js").Problem} Problem */
/** @typedef {{ node: string, type: string, slot: string }} Target */
/** An input of a node type. @typedef {{ secret?: boolean, secretKeys?: readonly string[] }} TypeSlot */
/** @typedef {{ inputs?: Readonly<Record<string, TypeSlot>> }} NodeType */
/** @typedef {import("../lib/documents.js").Json} Json */

const GROUP_INPUT = "core:GroupInput";
const NAME_OF_KEY = /^(.*[-_])?(api[-_]?key|key|token|secret|password|passwd|signature|sig|auth|authorization)$/i;
/** Of these groups the page does not see which nodes are inside. */
const RUNS_WORKFLOW = /^core:(NodeGroup|ForEach|Loop)$/;

/**
 * The inputs of a workflow, in their order.
 * @param {Json} document
 * @returns {[string, Slot][]}
 */
export function inputsOf(document) {
  const found = document.interfaceInputs;
  if (typeof found !== "object" || found === null) return [];
  return Object.entries(found).filter(([, slot]) => typeof slot?.dataFlowType === "string");
}

/**
 * The slots inside that each input goes to.
 * @param {Json} document
 * @returns {Map<string, Target[]>}
 */
export function feedsOf(document) {
  const types = new Map(nodesOf(document).map((node) => [String(node.id), typeOf(node)]));
  /** @type {Map<string, Target[]>} */
  const found = new Map();
  for (const edge of edgesOf(document)) {
    const { source, target: node } = endsOf(edge);
    if (types.get(source) !== GROUP_INPUT) continue;
    const key = String(edge.sourceHandle);
    const slot = String(edge.targetHandle).replace(/__\d+$/, "");
    found.set(key, [...found.get(key) ?? [], { node, slot, type: types.get(node) ?? "" }]);
  }
  return found;
}

/**
 * The types of nodes that inputs go to.
 * @param {ReadonlyMap<string, readonly Target[]>} feeds
 */
export function fedTypes(feeds) {
  const types = [...feeds.values()].flat().map((target) => target.type);
  return [...new Set(types)].filter((type) => type !== "" && !RUNS_WORKFLOW.test(type));
}

/**
 * How secret an input is: `whole` is typed unseen, `part` is shown and not kept.
 * @param {string} key
 * @param {Slot} slot
 * @param {readonly Target[]} targets
 * @param {ReadonlyMap<string, NodeType>} types By their names; a type that is not known here is not in it.
 * @returns {"whole" | "part" | "none"}
 */
export function secrecy(key, slot, targets, types) {
  if (slot.secret || slot.config?.secret === true || isReference(slot.config?.default)) return "whole";
  const fed = targets.map((target) => types.get(target.type)?.inputs?.[target.slot]);
  if (fed.some((one) => one?.secret)) return "whole";
  // What the page does not know may be a key: better one that must be typed again than one that is kept.
  const isHidden = targets.some((target) => !types.has(target.type));
  if (slot.dataFlowType === "STRING" && isHidden && NAME_OF_KEY.test(key)) return "whole";
  return NAME_OF_KEY.test(key) || fed.some((one) => (one?.secretKeys ?? []).length > 0) ? "part" : "none";
}

/**
 * Does this stand for a secret that the gateway has stored?
 * @param {unknown} value
 */
function isReference(value) {
  if (typeof value === "string") return value.startsWith("$secret:");
  return typeof value === "object" && value !== null && "$secret" in value;
}

/**
 * The inputs at which a problem is shown: its own, or one that goes to the slot that it names.
 * @param {Problem} problem
 * @param {readonly string[]} keys
 * @param {ReadonlyMap<string, readonly Target[]>} feeds
 * @returns {string[]}
 */
export function fieldsOf(problem, keys, feeds) {
  const { node, slot } = problem;
  if (slot === undefined) return [];
  if (node === undefined) return keys.filter((key) => key === slot);
  return keys.filter((key) => (feeds.get(key) ?? []).some((target) => target.node === node && target.slot === slot));
}
