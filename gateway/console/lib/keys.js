/** Keyboard shortcuts: one key, or two in a row (`g r`). They sleep while somebody types or a dialog is open. */

const NEXT_WITHIN_MS = 1500;

/**
 * What a key does, given the one before it: the shortcut that is complete, and what the next key may complete.
 * @param {readonly string[]} known
 * @param {string} before
 * @param {string} key
 * @returns {{ found: string | null, before: string }}
 */
export function step(known, before, key) {
  const both = before === "" ? key : `${before} ${key}`;
  for (const tried of [both, key]) {
    if (known.includes(tried)) return { found: tried, before: "" };
    if (known.some((one) => one.startsWith(`${tried} `))) return { found: null, before: tried };
  }
  return { found: null, before: "" };
}

/** @param {EventTarget | null} target */
function takesText(target) {
  return target instanceof HTMLElement && target.closest("input, textarea, select, [contenteditable], dialog") !== null;
}

/**
 * @param {Record<string, () => void>} shortcuts
 * @returns {() => void} Ends them.
 */
export function bindKeys(shortcuts) {
  let before = "";
  let pressed = 0;
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || takesText(event.target)) return;
    if (event.timeStamp - pressed > NEXT_WITHIN_MS) before = "";
    pressed = event.timeStamp;
    const result = step(Object.keys(shortcuts), before, event.key);
    before = result.before;
    if (result.found === null) return;
    event.preventDefault();
    shortcuts[result.found]?.();
  };
  addEventListener("keydown", onKey);
  return () => removeEventListener("keydown", onKey);
}
