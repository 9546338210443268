/** Copying to the clipboard, also where the browser keeps its own way for secure addresses. */

import { el, signal, verbatim } from "./view.js";
import { t } from "./words.js";

/** @typedef {import("./view.js").Shown} Shown */

/**
 * @param {string} text
 * @returns {Promise<boolean>} Is it there now?
 */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text); // without TLS, from another machine: there is no navigator.clipboard
  }
}

/** @param {string} text */
function copyBySelection(text) {
  const before = document.activeElement;
  const area = el("textarea", { readonly: true, class: "unseen" });
  area.value = text;
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  if (before instanceof HTMLElement) before.focus();
  return isCopied;
}

/**
 * A button that copies, and says that it did.
 * @param {Shown} word
 * @param {() => string} text
 * @param {Shown} [label] What a screen reader says, where the word alone does not tell one button from the next.
 */
export function copyButton(word, text, label) {
  const said = signal(verbatim(""));
  const click = async () => {
    said.value = await copy(text()) ? t("copied") : t("copyFailed");
  };
  return [
    el("button", { type: "button", "aria-label": label, on: { click } }, word),
    el("span", { class: "quiet", role: "status" }, said),
  ];
}
