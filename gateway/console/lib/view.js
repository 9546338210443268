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
 *   "aria-label"?: Live<Shown>,
 *   style?: Record<string, string>,
 *   on?: { [Type in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[Type]) => void },
 *   [attribute: string]: unknown,
 * }} Attributes
 */

/**
 * Make an element.
 *
 * An attribute that is true stands without a value, one that is false or null is absent. Functions as attributes and
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

/**
 * @param {Element} element
 * @param {string} name
 * @param {unknown} value
 */
function setAttribute(element, name, value) {
  if (name.startsWith("on")) throw new TypeError(`'${name}': handlers go into 'on'`);
  if (name === "value" && "value" in element) element.value = String(value ?? "");
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
    for (const node of present) node.parentNode?.removeChild(node);
    for (const node of made) end.parentNode?.insertBefore(node, end);
    present = made;
  });
  return place;
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
    for (const [key, entry] of entries) {
      if (wanted.has(key)) continue;
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
  });
  onEnd(() => entries.forEach((entry) => entry.dispose()));
  return place;
}
