/** How the items of a repetition stand, by the nodes inside them: counted as they change, never all anew. Pure. */

/** @typedef {{ number: number, status: string, failed: string | null }} Item */

/** What decides, the most urgent first. */
const ORDER = ["error", "running", "waiting", "interrupted"];

export class Tally {
  #prefix;
  /** By number: how many nodes are in which state. @type {Map<number, Map<string, number>>} */
  #counts = new Map();
  /** The state in which a node was counted. @type {Map<string, string>} */
  #counted = new Map();
  /** By number, the path of a node that failed. @type {Map<number, string>} */
  #failed = new Map();
  /** @type {number[] | null} */
  #sorted = null;

  /** @param {string} prefix Of the repetition, with "/" at its end. */
  constructor(prefix) {
    this.#prefix = prefix;
  }

  /**
   * Nodes deeper inside count with the group that they are in.
   * @param {string} path
   * @param {string} status
   * @returns {boolean} Did it change anything?
   */
  count(path, status) {
    if (!path.startsWith(this.#prefix)) return false;
    const [item = "", , deeper] = path.slice(this.#prefix.length).split("/", 3);
    const before = this.#counted.get(path);
    if (deeper !== undefined || !/^\d+$/.test(item) || before === status) return false;
    const number = Number(item);
    const counts = this.#counts.get(number) ?? new Map();
    if (!this.#counts.has(number)) this.#sorted = null;
    this.#counts.set(number, counts);
    if (before !== undefined) counts.set(before, (counts.get(before) ?? 0) - 1);
    counts.set(status, (counts.get(status) ?? 0) + 1);
    this.#counted.set(path, status);
    if (status === "error") this.#failed.set(number, path);
    return true;
  }

  /** @param {string} [status] Only those in this state. @returns {number[]} In order. */
  numbers(status = "") {
    this.#sorted ??= [...this.#counts.keys()].sort((one, other) => one - other);
    if (status === "") return this.#sorted;
    return this.#sorted.filter((number) => this.statusOf(number) === status);
  }

  /** @param {number} number */
  statusOf(number) {
    const counts = this.#counts.get(number);
    if (counts === undefined) return "pending";
    return ORDER.find((status) => (counts.get(status) ?? 0) > 0) ?? "complete";
  }

  /** @param {number} number @returns {Item} */
  item(number) {
    return { number, status: this.statusOf(number), failed: this.#failed.get(number) ?? null };
  }
}
