/** What the page's projection says, as JSON, in the form of `views.py`. */

/**
 * @param {import("../../gateway/console/run/project.js").RunView} view
 * @returns {Record<string, unknown>}
 */
export function told(view) {
  // By code point, as Python sorts.
  const sorted = (/** @type {Set<string>} */ set) =>
    [...set].sort((one, other) => {
      const [a, b] = [Array.from(one), Array.from(other)];
      const at = a.findIndex((sign, index) => sign !== b[index]);
      if (at < 0) return a.length - b.length;
      return (a[at]?.codePointAt(0) ?? -1) - (b[at]?.codePointAt(0) ?? -1);
    });
  return {
    status: view.status,
    errorInfo: view.errorInfo,
    nodes: Object.fromEntries(view.nodes),
    ended: sorted(view.ended),
    outputs: view.outputs,
    approvals: [...view.approvals.values()],
    activity: {
      working: sorted(view.activity.working),
      waiting: Object.fromEntries(view.activity.waiting),
      onlyWaits: view.activity.onlyWaits,
    },
  };
}
