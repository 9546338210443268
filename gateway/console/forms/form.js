/** A form of slots: the inputs of a workflow, or the fields of an approval. */

import { computed, el, signal } from "../lib/view.js";
import { makeField } from "./fields.js";
import { defaultOf, kindOf, settled } from "./slots.js";

/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {import("./slots.js").Slot} Slot */
/** @typedef {import("./fields.js").Field} Field */
/** @typedef {ReadonlyMap<string, unknown>} Values */
/**
 * `values` are those that differ from what counts in any case, as far as they can be read; it follows what is typed.
 * `read` complains of what is wrong, and gives null then. `show` says what the gateway complains of, by the keys of
 * slots. `fill` shows other values; slots that are not among them get what counts in any case.
 * @typedef {{
 *   element: HTMLElement,
 *   values: import("../lib/view.js").Readable<Values>,
 *   read: (options?: { isComplete?: boolean }) => Values | null,
 *   show: (complaints: ReadonlyMap<string, Shown>) => void,
 *   fill: (values: Values) => void,
 *   secrets: readonly string[],
 * }} Form
 */

/**
 * @param {readonly (readonly [string, Slot])[]} slots
 * @param {{ base?: Values, typed?: Values }} [options] `base`: what counts where nothing is given, instead of the
 *   default of the slot; `typed`: what stands in the fields at first, instead of that.
 * @returns {Form}
 */
export function makeForm(slots, { base = new Map(), typed = new Map() } = {}) {
  const changes = signal(0);
  const changed = () => {
    changes.value = changes.peek() + 1;
  };
  /** What counts when a field is left alone. @param {string} key @param {Slot} slot */
  const baseOf = (key, slot) => base.has(key) ? base.get(key) : implied(slot);
  const first = (/** @type {Values} */ values, /** @type {string} */ key, /** @type {Slot} */ slot) =>
    values.has(key) ? values.get(key) : baseOf(key, slot);
  const fields = slots.map(([key, slot]) =>
    makeField(key, slot, { value: first(typed, key, slot), base: baseOf(key, slot), changed })
  );
  const readings = (/** @type {boolean} */ isComplete) =>
    fields.map((field) => {
      const given = { base: baseOf(field.key, field.slot), isComplete };
      return { field, reading: settled(field.slot, field.control.read(), given) };
    });
  const element = el("div", { class: "form" }, ...fields.map((field) => field.element));
  element.addEventListener("input", changed);
  return {
    element,
    values: computed(() => {
      changes.value;
      return valuesIn(readings(false));
    }),
    read({ isComplete = true } = {}) {
      const all = readings(isComplete);
      for (const { field, reading } of all) field.complain(reading.state === "wrong" ? reading.complaint : null);
      const wrong = all.find(({ reading }) => reading.state === "wrong");
      wrong?.field.control.target.focus();
      return wrong === undefined ? valuesIn(all) : null;
    },
    show(complaints) {
      for (const field of fields) field.complain(complaints.get(field.key) ?? null);
      fields.find((field) => complaints.has(field.key))?.control.target.focus();
    },
    fill(values) {
      for (const { key, slot, control, complain } of fields) {
        control.fill(first(values, key, slot));
        complain(null);
      }
      changed();
    },
    secrets: slots.filter(([, slot]) => kindOf(slot) === "secret").map(([key]) => key),
  };
}

/**
 * A switch is off unless somebody says otherwise; anything else has the default of the slot.
 * @param {Slot} slot
 */
function implied(slot) {
  const given = defaultOf(slot);
  return given === undefined && slot.dataFlowType === "BOOLEAN" && !slot.required ? false : given;
}

/** @param {{ field: Field, reading: import("./slots.js").Reading }[]} all @returns {Values} */
function valuesIn(all) {
  return new Map(
    all.flatMap(({ field, reading }) => reading.state === "value" ? [[field.key, reading.value]] : []),
  );
}
