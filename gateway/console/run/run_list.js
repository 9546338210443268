/** The list of all runs: pages of it, kept up to date by what the gateway tells of each run that changes. */

import { GatewayError, getJson, isPassing } from "../api/rest.js";
import { computed, effect, onEnd, signal, untracked } from "../lib/view.js";

/** @typedef {import("./store.js").RunSummary} RunSummary */
/** @typedef {Readonly<Record<string, string>>} Filters */
/** @typedef {{ runs: RunSummary[], nextCursor?: number | null }} RunPage */
/** @typedef {{ promptId: string, deleted: true }} Deleted */

export const PAGE = 50;
const MOST = 200;
/** Letters that are typed in a row are one question. */
const TYPING_MS = 250;
const AGAIN_MS = 2000;
const NAMES = /** @type {const} */ (["status", "workflowId", "q", "since", "until"]);

/**
 * What stands in the address as what is asked for. Days are those of whoever looks.
 * @param {Filters} filters `status` (several by commas), `workflowId`, `q`; `since` and `until` are days, 2030-01-31.
 * @returns {Record<string, string>}
 */
export function queryOf(filters) {
  const known = NAMES.map((name) => [name, (filters[name] ?? "").trim()]).filter(([, value]) => value !== "");
  /** @type {Record<string, string>} */
  const query = Object.fromEntries(known);
  const [since, until] = [dayOf(query.since, 0), dayOf(query.until, 1)];
  delete query.since;
  delete query.until;
  return { ...query, ...(since === null ? {} : { since }), ...(until === null ? {} : { until }) };
}

/**
 * @param {string | undefined} day
 * @param {number} later Days.
 */
function dayOf(day, later) {
  const [year, month, date] = (/^(\d{4})-(\d\d)-(\d\d)$/.exec(day ?? "") ?? []).slice(1).map(Number);
  if (year === undefined || month === undefined || date === undefined) return null;
  return new Date(year, month - 1, date + later).toISOString();
}

/**
 * Would the gateway list it?
 * @param {RunSummary} run
 * @param {Record<string, string>} query Of `queryOf`.
 */
export function fits(run, { status, workflowId, q = "", since, until }) {
  const names = [run.workflowName, run.workflowId, run.promptId].map((one) => (one ?? "").toLowerCase());
  return (status === undefined || status.split(",").includes(run.status)) &&
    (workflowId === undefined || run.workflowId === workflowId) &&
    names.some((one) => one.includes(q.toLowerCase())) &&
    (since === undefined || Date.parse(run.submittedAt) >= Date.parse(since)) &&
    (until === undefined || Date.parse(run.submittedAt) < Date.parse(until));
}

/**
 * The list with what is new of one run: newest first. One that is older than all, while there are more pages, is left
 * to them.
 * @param {readonly RunSummary[]} runs
 * @param {RunSummary | Deleted} told
 * @param {{ query: Record<string, string>, hasMore: boolean }} list
 * @returns {readonly RunSummary[]}
 */
export function updated(runs, told, { query, hasMore }) {
  const at = runs.findIndex(({ promptId }) => promptId === told.promptId);
  if ("deleted" in told || !fits(told, query)) return at < 0 ? runs : runs.toSpliced(at, 1);
  if (at >= 0) return runs.with(at, told);
  const place = runs.findIndex(({ submittedAt }) => Date.parse(submittedAt) < Date.parse(told.submittedAt));
  if (place >= 0) return runs.toSpliced(place, 0, told);
  return hasMore ? runs : [...runs, told];
}

/**
 * The list while somebody points at it: what is there is told anew in its place, what came or went has to wait. Else the
 * click would hit another run.
 * @param {readonly RunSummary[]} runs
 * @param {RunSummary | Deleted} told
 * @param {Record<string, string>} query
 * @returns {{ runs: readonly RunSummary[], isBehind: boolean }} `isBehind`: something waits.
 */
export function updatedInPlace(runs, told, query) {
  const at = runs.findIndex(({ promptId }) => promptId === told.promptId);
  if ("deleted" in told) return { runs, isBehind: at >= 0 };
  const isListed = fits(told, query);
  return at < 0 ? { runs, isBehind: isListed } : { runs: runs.with(at, told), isBehind: !isListed };
}

/**
 * Belongs to the surrounding effect.
 * @param {import("../api/socket.js").GatewaySocket} socket
 * @param {() => Filters} filters
 * @param {() => boolean} [isHeld] Whether the list must hold still; a signal.
 * @returns `isBehind`: something came or went while the list was held still. `catchUp` shows it.
 */
export function followRuns(socket, filters, isHeld = () => false) {
  const runs = signal(/** @type {readonly RunSummary[] | null} */ (null));
  const cursor = signal(/** @type {number | null} */ (null));
  const problem = signal(/** @type {Error | null} */ (null));
  const isBehind = signal(false);
  const key = computed(() => JSON.stringify(queryOf(filters())));
  /** @returns {Record<string, string>} */
  const query = () => JSON.parse(key.peek());
  let turn = 0;
  /** What was told while a page was on its way: it may be newer. @type {(RunSummary | Deleted)[]} */
  let meanwhile = [];
  let isLoading = false;
  /** So long the list may grow by news. */
  let room = MOST;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let again;

  const load = async (/** @type {number} */ limit, /** @type {number | null} */ from = null) => {
    clearTimeout(again);
    const mine = ++turn;
    [isLoading, meanwhile] = [true, []];
    const { status, ...others } = query();
    /** @type {import("../api/rest.js").Query} */
    const states = status === undefined ? {} : { status: status.split(",") };
    const paging = { limit: String(limit), ...(from === null ? {} : { cursor: String(from) }) };
    try {
      /** @type {RunPage} */
      const page = await getJson("api/runs", { query: { ...others, ...states, ...paging } });
      if (mine !== turn) return;
      const before = from === null ? [] : runs.peek() ?? [];
      const known = new Set(before.map(({ promptId }) => promptId));
      runs.value = [...before, ...page.runs.filter(({ promptId }) => !known.has(promptId))];
      room = runs.value.length + MOST;
      cursor.value = page.nextCursor ?? null;
      problem.value = null;
      if (from === null) isBehind.value = false;
      isLoading = false;
      meanwhile.forEach(tell);
    } catch (error) {
      if (!isPassing(error) && !(error instanceof GatewayError)) throw error;
      if (mine !== turn) return;
      // Away: the banner says so. Refused: a filter that somebody wrote by hand.
      if (error instanceof GatewayError) problem.value = error;
      if (isPassing(error)) again = setTimeout(() => load(limit, from), AGAIN_MS);
    } finally {
      if (mine === turn) isLoading = false;
    }
  };
  const loadAnew = () => load(Math.min(MOST, Math.max(PAGE, runs.peek()?.length ?? 0)));
  const tell = (/** @type {RunSummary | Deleted} */ told) => {
    const present = runs.peek();
    if (present === null) return;
    if (untracked(isHeld)) {
      const now = updatedInPlace(present, told, query());
      runs.value = now.runs;
      if (now.isBehind) isBehind.value = true;
      return;
    }
    runs.value = updated(present, told, { query: query(), hasMore: cursor.peek() !== null });
    // Days of runs that come are too much for a page; what is old is a page of the gateway's again.
    if (runs.value.length > room && !isLoading) loadAnew();
  };
  onEnd(socket.listen(({ type, payload }) => {
    // It tells of changes from here on, perhaps again after it was away: what came before is asked for.
    if (type === "SUBSCRIBED" && payload.runs === true) loadAnew();
    if (type !== "RUN_UPDATE") return;
    const told = /** @type {RunSummary | Deleted} */ (payload.run);
    if (isLoading) meanwhile.push(told);
    tell(told);
  }));
  socket.watchRuns();
  let isFirst = true;
  effect(() => {
    key.value;
    const timer = setTimeout(() => load(PAGE), isFirst ? 0 : TYPING_MS);
    isFirst = false;
    onEnd(() => clearTimeout(timer));
  });
  effect(() => {
    if (!isHeld() && isBehind.peek()) untracked(loadAnew);
  });
  onEnd(() => {
    turn++;
    clearTimeout(again);
  });
  const more = () => untracked(() => load(PAGE, cursor.peek()));
  // What somebody has done here waits for nothing.
  const forget = (/** @type {string} */ id) => {
    runs.value = (runs.peek() ?? []).filter(({ promptId }) => promptId !== id);
  };
  const catchUp = () => untracked(loadAnew);
  return { runs, hasMore: computed(() => cursor.value !== null), problem, more, forget, isBehind, catchUp };
}
