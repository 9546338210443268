/**
 * What shows the nodes of a run. The list (`list.js`) is one; a drawing of the graph is to be another. Neither follows
 * the run by itself: the store says what is new, and they ask it how a node stands.
 */

/** @typedef {import("../run/store.js").NodeShown} NodeShown */
/**
 * `show` begins anew with these nodes; `add` brings one that was not there; `touch` says that one has changed, at most
 * once per picture; `select` marks one (null: none) and brings it into view; `fit` brings all into view.
 * @typedef {{
 *   element: HTMLElement,
 *   show: (paths: readonly string[]) => void,
 *   add: (path: string) => void,
 *   touch: (path: string) => void,
 *   select: (path: string | null) => void,
 *   fit: () => void,
 * }} Canvas
 */
/** How a node stands now. @typedef {(path: string) => NodeShown} Shows */

export {};
