/** JSON in which whole numbers keep their digits: the numbers of a browser are exact only up to 2^53. */

/** As many digits in a row as a number has that may be beyond it; those behind a point do not count. */
const LONG = /(?<![.\d])\d{16}/;
const WHOLE = /^-?\d+$/;
/** What newer browsers have, and the types of the language do not know yet. */
const { rawJSON } = /** @type {{ rawJSON?: (text: string) => unknown }} */ (/** @type {unknown} */ (JSON));

/** A whole number beyond 2^53. As text, and as JSON, it is what it was. */
export class LongNumber {
  /** @param {string} digits */
  constructor(digits) {
    this.digits = digits;
  }

  toString() {
    return this.digits;
  }

  toJSON() {
    return rawJSON === undefined ? Number(this.digits) : rawJSON(this.digits);
  }
}

/** Are long numbers sent as they are? */
export const isExact = rawJSON !== undefined;

/**
 * @param {string} text
 * @returns {any}
 * @throws {SyntaxError} It is no JSON.
 */
export function parseJson(text) {
  return LONG.test(text)
    ? JSON.parse(text, /** @type {(key: string, value: unknown) => unknown} */ (revive))
    : JSON.parse(text);
}

/**
 * @param {string} _key
 * @param {unknown} value
 * @param {{ source?: string }} [context] Older browsers give none.
 */
function revive(_key, value, context) {
  const source = context?.source;
  const isLong = typeof value === "number" && !Number.isSafeInteger(value) && source !== undefined &&
    WHOLE.test(source);
  return isLong ? new LongNumber(source) : value;
}
