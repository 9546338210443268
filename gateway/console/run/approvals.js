/**
 * What waits for somebody's answer, over all runs. Pure, but for the requests at the end.
 *
 * Who decides must not lose anything when somebody else was faster: what was asked keeps its place in the list, and
 * says what became of it.
 */

import { GatewayAway, GatewayError, getJson } from "../api/rest.js";
import { LongNumber } from "../lib/json.js";

/** @typedef {import("../forms/slots.js").Slot & { key: string }} FormSlot */
/** @typedef {{ approved: boolean, values?: Record<string, unknown>, comment?: string, by?: string }} Answer */
/** Tokens, money, or both. @typedef {{ tokens?: number, money?: number }} Amounts */
/**
 * What a node asks. `kind` is `approval` or `budget`: the node would go past what may be spent.
 * @typedef {{
 *   promptId: string, nodeId: string, approvalId: string, kind: string, status: string, until: string | null,
 *   form: FormSlot[], data: unknown, requiredAt: string, workflowName?: string | null,
 *   scope?: string, limit?: Amounts, used?: Amounts, needed?: Amounts, attempt?: number,
 *   answer?: Answer | null, answeredAt?: string, closedAt?: string,
 * }} Approval
 */
/**
 * How it ended: `answered` by somebody, `timedOut`, `closed` with its run or node, `askedAgain` by the node, `gone`
 * with its run.
 * @typedef {{ kind: "answered" | "timedOut" | "closed" | "askedAgain" | "gone", answer?: Answer, at?: string }} Outcome
 */
/**
 * `outcome` is null while it is open; `since` is when we heard of it, in milliseconds since 1970.
 * @typedef {{ asked: Approval, outcome: Outcome | null, since: number }} Entry
 */

const PAGE = 100;
const MOST = 500;
/** Clocks of worker and gateway may differ by so much. */
const SAME_MOMENT_MS = 2000;

/**
 * A node that asks again asks something else.
 * @param {Approval} asked
 */
export function keyOf({ promptId, approvalId, requiredAt }) {
  return JSON.stringify([promptId, approvalId, requiredAt]);
}

/**
 * The list after the gateway has told what is open: what is shown keeps its place, what is new comes behind it.
 * @param {readonly Entry[]} entries
 * @param {readonly Approval[]} open
 * @param {number} askedAt When the gateway was asked: what ended since then may still be told as open.
 * @returns {{ entries: Entry[], missing: Approval[] }} `missing`: they were open, and are no longer told.
 */
export function merged(entries, open, askedAt) {
  const told = new Map(open.map((asked) => [keyOf(asked), asked]));
  /** @type {Approval[]} */
  const missing = [];
  const kept = entries.map((entry) => {
    const key = keyOf(entry.asked);
    const isOpen = told.delete(key);
    if (entry.outcome === null && !isOpen) missing.push(entry.asked);
    // An answer may have been lost with the machine that took it.
    const isOpenAgain = entry.outcome !== null && isOpen && entry.since < askedAt;
    return isOpenAgain ? { ...entry, outcome: null, since: askedAt } : entry;
  });
  const added = [...told.values()].map((asked) => ({ asked, outcome: null, since: askedAt }));
  return { entries: [...kept, ...added], missing };
}

/**
 * The list with what became of one.
 * @param {readonly Entry[]} entries
 * @param {string} key
 * @param {Outcome} outcome
 * @param {number} since
 * @returns {Entry[]}
 */
export function ended(entries, key, outcome, since) {
  return entries.map((entry) => keyOf(entry.asked) === key ? { ...entry, outcome, since } : entry);
}

/**
 * What became of an approval.
 * @param {Approval} asked
 * @param {Approval | undefined} found What the gateway has of it now.
 * @returns {Outcome | null} Null: it is still open.
 */
export function outcomeOf(asked, found) {
  if (found === undefined) return { kind: "gone" };
  if (keyOf(found) !== keyOf(asked)) return { kind: "askedAgain" };
  if (found.status === "open") return null;
  if (found.status === "answered") return { kind: "answered", ...withAnswer(found), at: found.answeredAt ?? "" };
  const closed = Date.parse(found.closedAt ?? "");
  const isLate = found.until !== null && closed >= Date.parse(found.until) - SAME_MOMENT_MS;
  return { kind: isLate ? "timedOut" : "closed", at: found.closedAt ?? "" };
}

/** @param {Approval} found */
function withAnswer({ answer }) {
  return answer ? { answer } : {};
}

/**
 * What the fields of a form have now: fields of an object, or the field `data` of anything else.
 * @param {readonly FormSlot[]} form
 * @param {unknown} data
 * @returns {Map<string, unknown>} Without those that have nothing.
 */
export function presentValues(form, data) {
  const isObject = typeof data === "object" && data !== null && !Array.isArray(data) && !(data instanceof LongNumber);
  const fields = new Map(isObject ? Object.entries(data) : [["data", data]]);
  const present = form.map(({ key }) => /** @type {[string, unknown]} */ ([key, fields.get(key)]));
  return new Map(present.filter(([, value]) => value !== undefined && value !== null));
}

/**
 * Is this the answer that was sent? Then it counted, though nobody said so in time.
 * @param {Answer | null} sent
 * @param {Answer | undefined} counted
 */
export function isSameAnswer(sent, counted) {
  if (sent === null || counted === undefined) return false;
  const values = new Map(Object.entries(counted.values ?? {}));
  // It may hold more: the defaults of fields that nobody filled in.
  const hasValues = Object.entries(sent.values ?? {}).every(([key, value]) =>
    JSON.stringify(values.get(key)) === JSON.stringify(value)
  );
  return hasValues && sent.approved === counted.approved && (sent.comment ?? "") === (counted.comment ?? "");
}

/**
 * The field of which a refusal tells, and what it says of it; null when it is of no field.
 * @param {string} message As `approval 'check': field 'title' must be text, found a list`.
 * @param {readonly FormSlot[]} form
 * @returns {{ key: string, complaint: string } | null}
 */
export function fieldComplaint(message, form) {
  for (const { key } of form) {
    const begin = `field '${key}' `;
    const at = message.indexOf(begin);
    if (at >= 0) return { key, complaint: message.slice(at + begin.length) };
  }
  return null;
}

/**
 * The lowest new limit with which the next request may be made.
 * @param {Approval} asked Of the kind `budget`.
 * @param {"tokens" | "money"} what
 * @returns {number | null} Null: the limit that there is suffices, or nobody has told.
 */
export function leastLimit({ limit, used, needed }, what) {
  const [most, taken, more] = [limit?.[what], used?.[what], needed?.[what]];
  if (most === undefined || taken === undefined || more === undefined) return null;
  return taken + more > most ? taken + more : null;
}

/**
 * The approvals that are open, oldest run first.
 * @returns {Promise<Approval[]>} At most 500.
 */
export async function openApprovals() {
  /** @type {Approval[]} */
  const found = [];
  let cursor = /** @type {string | null} */ ("");
  while (cursor !== null && found.length < MOST) {
    /** @type {{ approvals: Approval[], nextCursor: string | null }} */
    const page = await getJson("api/approvals", { query: { limit: String(PAGE), ...(cursor ? { cursor } : {}) } });
    found.push(...page.approvals);
    cursor = page.nextCursor;
  }
  return found;
}

/**
 * What became of an approval, as the gateway has it now.
 * @param {Approval} asked
 * @returns {Promise<Outcome | null>} Null: it is still open, or nobody can say.
 */
export async function askOutcome(asked) {
  try {
    return outcomeOf(asked, await find(asked));
  } catch (error) {
    if (error instanceof GatewayAway) return null;
    if (!(error instanceof GatewayError)) throw error;
    return error.code === "run_not_found" ? { kind: "gone" } : null;
  }
}

/** @param {Approval} asked @returns {Promise<Approval | undefined>} */
async function find({ promptId, approvalId }) {
  let cursor = /** @type {number | null} */ (0);
  while (cursor !== null) {
    /** @type {{ approvals: Approval[], nextCursor: number | null }} */
    const page = await getJson(`api/prompt/${encodeURIComponent(promptId)}/approvals`, {
      query: { limit: String(MOST), cursor: String(cursor) },
    });
    const found = page.approvals.find((one) => one.approvalId === approvalId);
    if (found !== undefined) return found;
    cursor = page.nextCursor;
  }
  return undefined;
}
