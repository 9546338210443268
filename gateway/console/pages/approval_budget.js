/** A budget that is used up, in words. */

import { money, name, number } from "../lib/format.js";
import { el, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { leastLimit } from "../run/approvals.js";

/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {import("../lib/words.js").Word} Word */
/** @typedef {import("../run/approvals.js").Approval} Approval */
/** @typedef {import("../run/approvals.js").Amounts} Amounts */

/** @type {ReadonlyMap<string, Word>} */
const SCOPES = new Map([
  ["run", "scopeRun"],
  ["workflow", "scopeWorkflow"],
  ["day", "scopeDay"],
  ["user", "scopeUser"],
]);

/** @param {Approval} asked */
export function budgetFacts(asked) {
  const scope = SCOPES.get(asked.scope ?? "");
  /** @type {[Shown, Shown | null][]} */
  const rows = [
    [t("budgetScope"), scope === undefined ? name(asked.scope ?? "") : t(scope)],
    [t("limit"), amountWords(asked.limit)],
    [t("used"), amountWords(asked.used)],
    [t("needed"), amountWords(neededAmounts(asked))],
  ];
  const known = rows.filter(([, value]) => value !== null);
  return known.flatMap(([word, value]) => [el("dt", {}, word), el("dd", {}, value)]);
}

/**
 * What the next request may take. A price that nobody knows is told as 0, which says nothing.
 * @param {Approval} asked
 * @returns {Amounts}
 */
export function neededAmounts({ needed = {} }) {
  const { money: price, ...others } = needed;
  return price ? needed : others;
}

/**
 * Tokens and money, null when neither is told.
 * @param {Amounts | undefined} amounts
 * @returns {Shown | null}
 */
export function amountWords(amounts) {
  const { tokens, money: spent } = amounts ?? {};
  const parts = [
    tokens === undefined ? null : t("tokenCount", { n: tokens, count: number(tokens) }),
    // The gateway does not tell the currency here: it is that of all budgets.
    spent === undefined ? null : money(spent),
  ].filter((part) => part !== null);
  return parts.length === 0 ? null : verbatim(parts.join(", "));
}

/**
 * @param {Approval} asked
 * @returns {Shown | null}
 */
export function leastWords(asked) {
  const [tokens, spent] = [leastLimit(asked, "tokens"), leastLimit(asked, "money")];
  return amountWords({ ...(tokens === null ? {} : { tokens }), ...(spent === null ? {} : { money: spent }) });
}
