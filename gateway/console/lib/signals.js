/**
 * Signals: values, what follows from them, and what runs when they change.
 *
 * A signal holds a value; whatever reads it inside an effect or a computed value runs again when it changes. Effects
 * and computed values belong to the effect or root that made them, and end with it: signals that live longer, such as
 * the address, would keep them for ever.
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
export class Computed extends Source {
  #reaction = new Reaction();
  #isStale = true;
  #isOver = false;
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
    if (isFirst || this.#isOver || this.#reaction.isOutdated()) {
      const value = this.#isOver ? untracked(this.#compute) : this.#reaction.follow(this.#compute);
      if (isFirst || !Object.is(value, this.#value)) this.version++;
      this.#value = value;
    }
    this.#isStale = this.#isOver;
  }

  /** Who asks later gets what is true then; nobody is told of changes any more. */
  end() {
    this.#isOver = true;
    this.#isStale = true;
    this.#reaction.leave();
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
  const made = new Computed(compute);
  owned?.push(() => made.end());
  return made;
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
