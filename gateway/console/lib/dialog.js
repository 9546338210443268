/** Dialogs of the browser: it keeps the focus inside, closes them by Escape, and gives the focus back. */

import { el } from "./view.js";
import { t } from "./words.js";

/** @typedef {import("./view.js").Shown} Shown */
/** @typedef {import("./view.js").Plain} Plain */

/**
 * Show something until it is closed.
 * @param {Shown} title
 * @param {Plain[]} content
 * @param {{ action?: Shown }} [options] `action` is what may be agreed to; without it there is only "close".
 * @returns {Promise<boolean>} Was it agreed to?
 */
export function openDialog(title, content, { action } = {}) {
  const agree = action === undefined ? null : el("button", { class: "primary", value: "yes" }, action);
  // What is not agreed to need not be valid.
  const close = el("button", { value: "no", formnovalidate: true }, action === undefined ? t("close") : t("cancel"));
  const heading = el("h2", { id: "dialog-title" }, title);
  const form = el("form", { method: "dialog" }, heading, ...content, el("p", { class: "actions" }, agree, close));
  const dialog = el("dialog", { "aria-labelledby": "dialog-title" }, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => {
      dialog.remove();
      // What opened it may be gone.
      if (document.activeElement === document.body) document.querySelector("h1")?.focus({ preventScroll: true });
      resolve(dialog.returnValue === "yes");
    })
  );
}

/**
 * Ask for one line of text.
 * @param {Shown} title
 * @param {{ label: Shown, value?: string, hint?: Shown, action: Shown, suggestions?: readonly string[] }} options
 * @returns {Promise<string | null>} Null when it was not agreed to.
 */
export async function askText(title, { label, value = "", hint, action, suggestions = [] }) {
  const list = suggestions.length > 0 ? "dialog-suggestions" : null;
  const attributes = { id: "dialog-text", value, required: true, autocomplete: "off", list, autofocus: true };
  const field = el("input", attributes);
  const content = [
    hint === undefined ? null : el("p", { class: "quiet" }, hint),
    el("label", { for: "dialog-text" }, label),
    field,
    list === null ? null : el("datalist", { id: list }, ...suggestions.map((one) => el("option", { value: one }))),
  ];
  return await openDialog(title, content, { action }) ? field.value : null;
}
