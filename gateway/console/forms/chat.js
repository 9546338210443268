/** The field of a chat history: a row for each message. */

import { each, el, signal, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { messagesIn, readMessages } from "./slots.js";

/** @typedef {import("../lib/words.js").Word} Word */
/** @typedef {import("./slots.js").Message} Message */
/** `typed` is what stands in the row. @typedef {{ id: string, typed: Message }} Row */

/** @type {ReadonlyMap<string, Word>} */
const ROLES = new Map([["system", "roleSystem"], ["user", "roleUser"], ["assistant", "roleAssistant"]]);

let rowsMade = 0;

/** @param {Message} typed @returns {Row} */
function row(typed) {
  return { id: String(++rowsMade), typed: { ...typed } };
}

/**
 * @param {import("./fields.js").Asked} asked
 * @returns {import("./fields.js").Control}
 */
export function chatControl({ id, slot, changed }) {
  const rows = signal(/** @type {readonly Row[]} */ ([]));
  const remove = (/** @type {string} */ gone) => {
    rows.value = rows.peek().filter((one) => one.id !== gone);
    add.focus();
    changed();
  };
  const list = el(
    "ol",
    { class: "chat" },
    each(() => rows.value, (one) => one.id, (one) => messageItem(one.peek(), remove)),
  );
  const append = () => {
    const last = rows.peek().at(-1)?.typed.role;
    rows.value = [...rows.peek(), row({ role: last === "user" ? "assistant" : "user", content: "" })];
    list.lastElementChild?.querySelector("textarea")?.focus();
    changed();
  };
  const add = el("button", { type: "button", on: { click: append } }, t("addMessage"));
  const target = el("div", { id, role: "group", tabindex: "-1", "aria-labelledby": `${id}-label` }, list, add);
  return {
    element: target,
    target,
    read: () => readMessages(slot, rows.peek().map((one) => one.typed)),
    fill: (value) => {
      rows.value = (messagesIn(value) ?? []).map(row);
    },
  };
}

/**
 * @param {Row} row
 * @param {(id: string) => void} remove
 */
function messageItem({ id, typed }, remove) {
  const known = ROLES.has(typed.role) ? [...ROLES.keys()] : [...ROLES.keys(), typed.role];
  const options = known.map((role) => {
    const word = ROLES.get(role);
    return el("option", { value: role, selected: role === typed.role }, word === undefined ? verbatim(role) : t(word));
  });
  const role = el("select", { "aria-label": t("role") }, ...options);
  const content = el("textarea", { rows: 2, "aria-label": t("messageText"), value: typed.content });
  role.addEventListener("input", () => {
    typed.role = role.value;
  });
  content.addEventListener("input", () => {
    typed.content = content.value;
  });
  const gone = el("button", { type: "button", on: { click: () => remove(id) } }, t("removeMessage"));
  return el("li", {}, role, content, gone);
}
