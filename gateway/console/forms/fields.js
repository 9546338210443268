/** The field of one slot: label, control, hint, and what is wrong with what stands in it. */

import { name } from "../lib/format.js";
import { el, signal, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { chatControl } from "./chat.js";
import { boundsOf, kindOf, messagesIn, readText, suggestionsOf, textOf } from "./slots.js";
import { fileInput, pickedData, pickedFile } from "./uploads.js";

/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {import("./slots.js").Kind} Kind */
/** @typedef {import("./slots.js").Slot} Slot */
/** @typedef {import("./slots.js").Reading} Reading */
/**
 * What is typed into. `target` is what the label names and what gets the focus; `fill` shows a value.
 * @typedef {{
 *   element: Element,
 *   target: HTMLElement,
 *   read: () => Reading,
 *   fill: (value: unknown) => void,
 * }} Control
 */
/**
 * @typedef {{
 *   key: string,
 *   slot: Slot,
 *   element: HTMLElement,
 *   control: Control,
 *   complain: (complaint: Shown | null) => void,
 * }} Field
 */
/** `id` is the field's own in the page; `changed` is called when something else than the reader has changed it. */
/** @typedef {{ id: string, slot: Slot, kind: Kind, label: Shown, changed: () => void }} Asked */

let fields = 0;

/**
 * @param {string} key
 * @param {Slot} slot
 * @param {{ value: unknown, base: unknown, changed: () => void }} options `value` stands in it at first; `base` counts
 *   when it is left empty.
 * @returns {Field}
 */
export function makeField(key, slot, { value, base, changed }) {
  const id = `field-${++fields}`;
  const label = labelOf(key, slot);
  const kind = kindWith(slot, [value, base]);
  const control = controlFor({ id, slot, kind, label, changed }, base);
  control.fill(value);
  const complaint = signal(/** @type {Shown | null} */ (null));
  const hints = hintsOf(slot, kind);
  control.target.setAttribute("aria-describedby", `${id}-hint ${id}-error`);
  // A group of controls, such as a chat, is not itself required.
  if (slot.required && kind !== "messages") control.target.setAttribute("aria-required", "true");
  const element = el(
    "div",
    { class: `field field-${kind}`, "data-slot": key },
    heading(id, slot, kind, label),
    el("p", { id: `${id}-hint`, class: "quiet hint" }, ...hints),
    control.element,
    el("p", { id: `${id}-error`, class: "error" }, () => complaint.value ?? verbatim("")),
  );
  const complain = (/** @type {Shown | null} */ said) => {
    complaint.value = said;
    control.target.setAttribute("aria-invalid", String(said !== null));
  };
  return { key, slot, element, control, complain };
}

/**
 * What the slot is called, on one line.
 * @param {string} key
 * @param {Slot} slot
 */
export function labelOf(key, slot) {
  return name(String(slot.displayName || slot.config?.label || key));
}

/**
 * A chat that holds more than roles and texts is shown as JSON.
 * @param {Slot} slot
 * @param {readonly unknown[]} values
 * @returns {Kind}
 */
function kindWith(slot, values) {
  const kind = kindOf(slot);
  if (kind !== "messages" || values.every((value) => messagesIn(value) !== null)) return kind;
  return slot.dataFlowType === "STRING" ? "text" : "list";
}

/**
 * @param {string} id
 * @param {Slot} slot
 * @param {Kind} kind
 * @param {Shown} label
 */
function heading(id, slot, kind, label) {
  const needed = slot.required ? el("span", { class: "quiet" }, t("required")) : null;
  const words = [el("bdi", {}, label), needed];
  // A chat has many controls: its name is that of the group.
  if (kind === "messages") return el("p", { id: `${id}-label`, class: "label" }, ...words);
  return el("label", { for: id }, ...words);
}

/**
 * @param {Slot} slot
 * @param {Kind} kind
 */
function hintsOf(slot, kind) {
  const said = slot.customDescription ?? slot.description ?? slot.config?.description;
  const { low, high } = boundsOf(slot);
  const bounds = kind !== "integer" && kind !== "number"
    ? null
    : low !== null && high !== null
    ? t("between", { low, high })
    : low !== null
    ? t("atLeast", { low })
    : high !== null
    ? t("atMost", { high })
    : null;
  const form = kind === "object" || kind === "list" ? t("asJson") : kind === "any" ? t("asAny") : null;
  const all = [typeof said === "string" && said !== "" ? verbatim(said) : null, bounds, form];
  return all.filter((one) => one !== null).map((one) => el("span", {}, one));
}

/**
 * @param {Asked} asked
 * @param {unknown} base
 * @returns {Control}
 */
function controlFor(asked, base) {
  switch (asked.kind) {
    case "boolean":
      return checkControl(asked);
    case "choice":
      return choiceControl(asked, base);
    case "messages":
      return chatControl(asked);
    case "secret":
      return secretControl(asked, base);
    case "file":
    case "data":
      return fileControl(asked);
    case "text":
    case "object":
    case "list":
    case "any":
      return textControl(asked, el("textarea", { ...attributesOf(asked), rows: asked.kind === "text" ? 4 : 6 }));
    default:
      return lineControl(asked);
  }
}

/** @param {Asked} asked */
function attributesOf({ id, slot }) {
  const placeholder = slot.config?.placeholder;
  return {
    id,
    autocomplete: "off",
    spellcheck: "false",
    ...(typeof placeholder === "string" ? { placeholder: name(placeholder) } : {}),
  };
}

/**
 * @param {Asked} asked
 * @param {HTMLInputElement | HTMLTextAreaElement} target
 * @param {Element} [element]
 * @returns {Control}
 */
function textControl({ kind, slot }, target, element = target) {
  return {
    element,
    target,
    read: () => readText(kind, slot, target.value),
    fill: (value) => {
      target.value = textOf(kind, value);
    },
  };
}

/** @param {Asked} asked */
function lineControl(asked) {
  const mode = asked.kind === "integer" ? "numeric" : asked.kind === "number" ? "decimal" : "text";
  const suggestions = suggestionsOf(asked.slot);
  const listId = suggestions.length > 0 ? `${asked.id}-list` : null;
  // Not of the type number: the browser would hide from us what is no number, and somebody must be told.
  const input = el("input", { ...attributesOf(asked), type: "text", inputmode: mode, list: listId });
  if (listId === null) return textControl(asked, input);
  const options = suggestions.map(({ value, label }) =>
    el("option", { value: textOf(asked.kind, value) }, verbatim(label))
  );
  return textControl(asked, input, el("div", {}, input, el("datalist", { id: listId }, ...options)));
}

/** @param {Asked} asked @param {unknown} base */
function secretControl(asked, base) {
  const hint = base === undefined || base === null || base === "" ? {} : { placeholder: t("storedSecret") };
  const options = { ...attributesOf(asked), ...hint, type: "password", autocomplete: "new-password" };
  const control = textControl(asked, el("input", options));
  // What is stored is never shown, not even as a reference.
  return { ...control, fill: () => {} };
}

/** @param {Asked} asked @returns {Control} */
function checkControl({ id }) {
  const target = el("input", { id, type: "checkbox" });
  const fill = (/** @type {unknown} */ value) => {
    target.checked = value === true;
  };
  return { element: target, target, read: () => ({ state: "value", value: target.checked }), fill };
}

/**
 * @param {Asked} asked
 * @param {unknown} base
 * @returns {Control}
 */
function choiceControl({ id, slot }, base) {
  const known = suggestionsOf(slot);
  const values = known.map((one) => one.value);
  const target = el("select", { id });
  const offer = (/** @type {string} */ index, /** @type {Shown} */ word) =>
    target.append(el("option", { value: index }, word));
  if (base === undefined || base === null) offer("", t("notChosen"));
  known.forEach(({ label }, index) => offer(String(index), name(label)));
  const fill = (/** @type {unknown} */ value) => {
    const index = values.findIndex((one) => JSON.stringify(one) === JSON.stringify(value));
    if (value === undefined || value === null) target.value = "";
    else if (index >= 0) target.value = String(index);
    else {
      values.push(value); // another version of the workflow had it
      offer(String(values.length - 1), name(textOf("any", value)));
      target.value = String(values.length - 1);
    }
  };
  const read = () => {
    if (target.value === "") return /** @type {Reading} */ ({ state: "empty" });
    return /** @type {Reading} */ ({ state: "value", value: values[Number(target.value)] });
  };
  return { element: target, target, read, fill };
}

/** @param {Asked} asked */
function fileControl(asked) {
  const input = el("input", { ...attributesOf(asked), type: "text" });
  const control = textControl(asked, input);
  const take = asked.kind === "file" ? pickedFile : pickedData;
  const picker = fileInput(asked.slot, asked.label, async (file, sending) => {
    control.fill(await take(file, sending));
    asked.changed();
  });
  return { ...control, element: el("div", { class: "with-file" }, input, picker) };
}
