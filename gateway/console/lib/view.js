/**
 * The view layer: elements and keyed lists that follow signals. Nothing here, and nothing that uses it, makes HTML of
 * text: texts become text nodes.
 */

import { Computed, effect, onEnd, root, Signal, signal } from "./signals.js";

export { batch, computed, effect, onEnd, root, Signal, signal, untracked } from "./signals.js";

/**
 * @template T
 * @typedef {import("./signals.js").Readable<T>} Readable
 */
/** @typedef {import("./signals.js").Dispose} Dispose */

/**
 * Text that a person may read: words of the page (`t`), formatted values (`format.js`), or somebody's own data
 * (`verbatim`). A plain string is none, so that no page has words of one language in it.
 * @typedef {string & { readonly forReaders: true }} Shown
 */

/**
 * Somebody's own text, as it is: names, answers of models, messages of the gateway.
 * @param {unknown} text
 * @returns {Shown}
 */
export function verbatim(text) {
  return /** @type {Shown} */ (String(text));
}

/** @typedef {Node | Shown | null | undefined | false} Plain */
/** @typedef {Plain | Plain[] | (() => Plain | Plain[]) | Readable<Shown>} Child */
/**
 * @template T
 * @typedef {T | (() => T)} Live
 */
/**
 * Attributes that people read or hear, and `on...` handlers, have types of their own; all others are plain.
 * @typedef {{
 *   title?: Live<Shown>,
 *   placeholder?: Live<Shown>,
 *   alt?: Live<Shown>,
 *   "aria-label"?: Live<Shown | null>,
 *   style?: Record<string, string>,
 *   on?: { [Type in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[Type]) => void },
 *   [attribute: string]: unknown,
 * }} Attributes
 */

/**
 * Make an element.
 *
 * An attribute that is true stands without a value, one that is false or null is absent. A button that is `disabled`
 * does nothing, but keeps the keyboard. Functions as attributes and
 * children are effects: they follow the signals that they read.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  const { on = {}, style = {}, ...others } = attributes;
  if (tag === "button" && "disabled" in others) element.addEventListener("click", endIfDisabled);
  for (const [type, handle] of Object.entries(on)) {
    element.addEventListener(type, /** @type {EventListener} */ (handle));
  }
  // The policy of the page refuses a style attribute; properties may be set.
  for (const [name, value] of Object.entries(style)) element.style.setProperty(name, value);
  for (const [name, value] of Object.entries(others)) {
    if (typeof value === "function") effect(() => setAttribute(element, name, value()));
    else setAttribute(element, name, value);
  }
  append(element, children);
  return element;
}

/** @param {Event} event */
function endIfDisabled(event) {
  const button = /** @type {Element} */ (event.currentTarget);
  if (button.getAttribute("aria-disabled") !== "true") return;
  event.preventDefault();
  event.stopImmediatePropagation();
}

/**
 * @param {Element} element
 * @param {string} name
 * @param {unknown} value
 */
function setAttribute(element, name, value) {
  if (name.startsWith("on")) throw new TypeError(`'${name}': handlers go into 'on'`);
  // The browser would take the keyboard away from it, and not give it back.
  if (name === "disabled" && element instanceof HTMLButtonElement) {
    setAttribute(element, "aria-disabled", value ? "true" : null);
  } else if (name === "value" && "value" in element) element.value = String(value ?? "");
  else if (value === false || value === null || value === undefined) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : String(value));
}

/**
 * @param {Node} parent
 * @param {Child[]} children
 */
export function append(parent, children) {
  for (const child of children) {
    if (typeof child === "function") parent.appendChild(following(child));
    else if (child instanceof Signal || child instanceof Computed) parent.appendChild(following(() => child.value));
    else for (const node of nodesOf(/** @type {Plain | Plain[]} */ (child))) parent.appendChild(node);
  }
}

/**
 * @param {Plain | Plain[]} plain
 * @returns {Node[]}
 */
function nodesOf(plain) {
  const list = Array.isArray(plain) ? plain : [plain];
  return list.flatMap((one) => {
    if (one === null || one === undefined || one === false) return [];
    return [one instanceof Node ? one : document.createTextNode(one)];
  });
}

/**
 * Nodes that are replaced whenever something changes that `make` read.
 * @param {() => Plain | Plain[]} make
 * @returns {DocumentFragment}
 */
function following(make) {
  const end = document.createComment("");
  const place = document.createDocumentFragment();
  place.append(end);
  /** @type {Node[]} */
  let present = [];
  effect(() => {
    const made = nodesOf(make());
    const [only, next] = [present[0], made[0]];
    if (present.length === 1 && made.length === 1 && only instanceof Text && next instanceof Text) {
      only.data = next.data;
      return;
    }
    const focused = placeOfFocus(present);
    for (const node of present) node.parentNode?.removeChild(node);
    for (const node of made) end.parentNode?.insertBefore(node, end);
    present = made;
    if (focused >= 0) giveFocus(focused, () => made);
  });
  return place;
}

const FOCUSABLE = "a[href], button, input:not([hidden]), select, textarea, summary, [tabindex]";

/** @param {readonly Node[]} nodes @returns {HTMLElement[]} */
function focusables(nodes) {
  return nodes.flatMap((node) => {
    if (!(node instanceof HTMLElement)) return [];
    const inside = /** @type {NodeListOf<HTMLElement>} */ (node.querySelectorAll(FOCUSABLE));
    return node.matches(FOCUSABLE) ? [node, ...inside] : [...inside];
  });
}

/**
 * Which of what can have the keyboard in some nodes has it; -1: none.
 * @param {readonly Node[]} nodes
 */
function placeOfFocus(nodes) {
  const active = document.activeElement;
  if (active === null || active === document.body || !nodes.some((node) => node.contains(active))) return -1;
  return Math.max(0, focusables(nodes).indexOf(/** @type {HTMLElement} */ (active)));
}

/**
 * Who had the keyboard in what is gone gets it at the same place of what came instead, or at the heading of the page:
 * else the next key would begin at the top. Whoever knows better has given it away by then.
 * @param {number} place
 * @param {() => Plain | Plain[]} instead
 */
function giveFocus(place, instead) {
  queueMicrotask(() => {
    if (document.activeElement !== document.body) return;
    const all = focusables(nodesOf(instead())).filter((one) => one.checkVisibility());
    const found = all[Math.min(place, all.length - 1)] ?? document.querySelector("main h1");
    if (found instanceof HTMLElement) found.focus({ preventScroll: true });
  });
}

/**
 * One element for each item, kept as long as an item with its key is there; only what moved is moved.
 * @template Item
 * @param {() => readonly Item[]} items
 * @param {(item: Item) => string} keyOf
 * @param {(item: Readable<Item>, key: string) => Element} make
 * @returns {DocumentFragment}
 */
export function each(items, keyOf, make) {
  const end = document.createComment("");
  const place = document.createDocumentFragment();
  place.append(end);
  /** @typedef {{ element: Element, item: Signal<Item>, dispose: Dispose }} Entry */
  /** @type {Map<string, Entry>} */
  const entries = new Map();
  /**
   * @param {Item} item
   * @param {string} key
   * @returns {Entry}
   */
  const enter = (item, key) =>
    root((dispose) => {
      const held = signal(item);
      return { element: make(held, key), item: held, dispose };
    });
  effect(() => {
    const wanted = new Map(items().map((item) => [keyOf(item), item]));
    const active = document.activeElement;
    for (const [key, entry] of entries) {
      if (wanted.has(key)) continue;
      const focused = placeOfFocus([entry.element]);
      const beside = [entry.element.nextElementSibling, entry.element.previousElementSibling];
      if (focused >= 0) giveFocus(focused, () => beside.find((one) => one?.isConnected));
      entry.dispose();
      entry.element.remove();
      entries.delete(key);
    }
    /** @type {Node} */
    let next = end;
    for (const [key, item] of [...wanted].reverse()) {
      const known = entries.get(key);
      const entry = known ?? enter(item, key);
      entry.item.value = item;
      entries.set(key, entry);
      if (entry.element.nextSibling !== next) end.parentNode?.insertBefore(entry.element, next);
      next = entry.element;
    }
    // What was moved has lost it.
    if (active instanceof HTMLElement && active !== document.activeElement && active.isConnected) {
      active.focus({ preventScroll: true });
    }
  });
  onEnd(() => entries.forEach((entry) => entry.dispose()));
  return place;
}
