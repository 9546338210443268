/**
 * The view layer: signals, effects, elements and keyed lists.
 *
 * A signal holds a value; whatever reads it inside an effect or a computed value runs again when it changes. Effects
 * belong to the effect or root that made them, and end with it. Nothing here, and nothing that uses it, makes HTML of
 * text: texts become text nodes.
 */

/**
 * Text that a person may read: words of the page (`t`), formatted values (`format.js`), or somebody's own data
 * (`verbatim`). A plain string is none, so that no page has words of one language in it.
 * @typedef {string & { readonly forReaders: true }} Shown
 */

/**
 * @template T
 * @typedef {{ readonly value: T, peek(): T }} Readable
 */

/** @typedef {() => void} Dispose */

/** What changed and was read: its version grows with each new value. */
class Source {
  version = 0;
  /** @type {Set<Reaction>} */
  observers = new Set();

  /** Bring a computed value up to date. */
  refresh() {}

  track() {
    if (reading === null) return;
    this.observers.add(reading);
    reading.sources.set(this, this.version);
  }

  changed() {
    this.version++;
    for (const observer of [...this.observers]) observer.invalidate();
  }
}

/** Something that reads sources, and is outdated when one of them has a new value. */
class Reaction {
  /** @type {Map<Source, number>} */
  sources = new Map();

  invalidate() {}

  /** Has anything that was read a new value? */
  isOutdated() {
    for (const [source, seen] of this.sources) {
      source.refresh();
      if (source.version !== seen) return true;
    }
    return false;
  }

  /**
   * @template T
   * @param {() => T} read
   * @returns {T}
   */
  follow(read) {
    this.leave();
    const before = reading;
    reading = this;
    try {
      return read();
    } finally {
      reading = before;
    }
  }

  leave() {
    for (const source of this.sources.keys()) source.observers.delete(this);
    this.sources.clear();
  }
}

/** @type {Reaction | null} */
let reading = null;
/** @type {Set<Effect>} */
const outdated = new Set();
let batches = 0;

/** @template T */
export class Signal extends Source {
  /** @type {T} */
  #value;

  /** @param {T} value */
  constructor(value) {
    super();
    this.#value = value;
  }

  get value() {
    this.track();
    return this.#value;
  }

  set value(value) {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    batch(() => this.changed());
  }

  peek() {
    return this.#value;
  }
}

/** @template T */
class Computed extends Source {
  #reaction = new Reaction();
  #isStale = true;
  #compute;
  /** @type {T | undefined} */
  #value;

  /** @param {() => T} compute */
  constructor(compute) {
    super();
    this.#compute = compute;
    this.#reaction.invalidate = () => {
      if (this.#isStale) return;
      this.#isStale = true;
      // The version stays until the value is known: observers that ask find out whether it differs.
      for (const observer of [...this.observers]) observer.invalidate();
    };
  }

  /** @override */
  refresh() {
    if (!this.#isStale) return;
    const isFirst = this.version === 0;
    if (isFirst || this.#reaction.isOutdated()) {
      const value = this.#reaction.follow(this.#compute);
      if (isFirst || !Object.is(value, this.#value)) this.version++;
      this.#value = value;
    }
    this.#isStale = false;
  }

  get value() {
    this.refresh();
    this.track();
    return /** @type {T} */ (this.#value);
  }

  peek() {
    this.refresh();
    return /** @type {T} */ (this.#value);
  }
}

/** @type {Dispose[] | null} */
let owned = null;

/**
 * Run with a list of its own for what must end later.
 * @template T
 * @param {Dispose[]} list
 * @param {() => T} run
 * @returns {T}
 */
function owning(list, run) {
  const before = owned;
  owned = list;
  try {
    return run();
  } finally {
    owned = before;
  }
}

class Effect extends Reaction {
  /** @type {Dispose[]} */
  #owned = [];
  #run;
  #isOver = false;

  /** @param {() => void} run */
  constructor(run) {
    super();
    this.#run = run;
  }

  /** @override */
  invalidate() {
    outdated.add(this);
  }

  runIfOutdated() {
    if (!this.#isOver && this.isOutdated()) this.run();
  }

  run() {
    endAll(this.#owned);
    this.follow(() => owning(this.#owned, this.#run));
  }

  end() {
    this.#isOver = true;
    this.leave();
    endAll(this.#owned);
  }
}

/** @param {Dispose[]} list */
function endAll(list) {
  for (const dispose of list.splice(0)) dispose();
}

/**
 * @template T
 * @param {T} value
 * @returns {Signal<T>}
 */
export function signal(value) {
  return new Signal(value);
}

/**
 * A value that follows from others. It is computed when it is read, and again when something it read has changed.
 * @template T
 * @param {() => T} compute
 * @returns {Readable<T>}
 */
export function computed(compute) {
  return new Computed(compute);
}

/**
 * Run now, and whenever a signal that was read has a new value.
 * @param {() => void} run
 * @returns {Dispose}
 */
export function effect(run) {
  const made = new Effect(run);
  const end = () => made.end();
  owned?.push(end);
  batch(() => made.run());
  return end;
}

/**
 * Let effects run once, after all changes that `change` makes.
 * @template T
 * @param {() => T} change
 * @returns {T}
 */
export function batch(change) {
  batches++;
  try {
    return change();
  } finally {
    if (--batches === 0) settle();
  }
}

function settle() {
  batches++;
  try {
    for (const one of outdated) {
      outdated.delete(one);
      one.runIfOutdated();
    }
  } finally {
    batches--;
  }
}

/**
 * Read without being run again.
 * @template T
 * @param {() => T} read
 * @returns {T}
 */
export function untracked(read) {
  const before = reading;
  reading = null;
  try {
    return read();
  } finally {
    reading = before;
  }
}

/**
 * Do this when the surrounding effect runs again or ends.
 * @param {Dispose} dispose
 */
export function onEnd(dispose) {
  owned?.push(dispose);
}

/**
 * Make something whose effects end when `dispose` is called, and not before.
 * @template T
 * @param {(dispose: Dispose) => T} make
 * @returns {T}
 */
export function root(make) {
  /** @type {Dispose[]} */
  const list = [];
  return owning(list, () => untracked(() => make(() => endAll(list))));
}

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
