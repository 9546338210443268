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
  const close = el("button", { value: "no" }, action === undefined ? t("close") : t("cancel"));
  const heading = el("h2", { id: "dialog-title" }, title);
  const form = el("form", { method: "dialog" }, heading, ...content, el("p", { class: "actions" }, agree, close));
  const dialog = el("dialog", { "aria-labelledby": "dialog-title" }, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    })
  );
}
