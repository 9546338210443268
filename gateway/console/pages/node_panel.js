/** One node of a run, closely: what went in and came out, each attempt, errors in the provider's words, and the cost. */

import { GatewayError, getJson, isPassing } from "../api/rest.js";
import { placeOf } from "../graph/levels.js";
import { copyButton } from "../lib/copy.js";
import { factList } from "../lib/facts.js";
import { duration, json, moment, money, name, number } from "../lib/format.js";
import { href, setFilters, withFilters } from "../lib/router.js";
import { isAsking, skipReason, stateBadge, stateWord, waitedFor } from "../lib/state.js";
import { growingText, valueBox } from "../lib/values.js";
import { computed, effect, el, onEnd, signal, untracked, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { liveNode } from "../run/live_node.js";
import { FINAL } from "../run/project.js";
import { rerunFrom } from "./rerun.js";
import { answerHref, followLevel } from "./run_level.js";

/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {import("../lib/view.js").Plain} Plain */
/** @typedef {import("../run/live_node.js").NodeSeen} NodeSeen */
/** @typedef {import("../run/timeline.js").Failure} Failure */
/** @typedef {import("../run/timeline.js").Span} Span */
/** @typedef {import("../run/project.js").Usage} Usage */
/** An output of a node. @typedef {{ nodeId: string, slot: string }} Source */
/**
 * What went into a slot; a secret is told as `***`.
 * @typedef {{
 *   from: string, value?: unknown, source?: Source, sources?: Source[], secret?: boolean, missing?: boolean,
 * }} Input
 */
/** @typedef {import("./run.js").Run} Followed */

const AGAIN_MS = 2000;
/** @type {ReadonlyMap<string, import("../lib/words.js").Word>} */
const ORIGINS = new Map([["value", "inputValue"], ["default", "inputDefault"], ["none", "inputNone"]]);
/** @type {ReadonlyMap<string, import("../lib/words.js").Word>} */
const OUTCOMES = new Map([["failed", "attemptFailed"], ["lost", "attemptLost"], ["wait", "attemptWaits"]]);

/**
 * @param {Followed} run
 * @param {string} path
 */
export function nodePanel(run, path) {
  const { seen, facts } = liveNode(run.store, path);
  const status = computed(() => facts.value.state.status ?? "pending");
  const inputs = loadedInputs(run, path, () => facts.value.times?.spans.length ?? 0);
  const hasText = computed(() => seen.value.stream !== null);
  const usage = usageOf(run, path, () => facts.value.times?.endedAt ?? null);
  const whole = () => json({ path, ...facts.peek().state, inputs: inputs.peek(), usage: usage.peek() ?? undefined });
  const level = followLevel(run);
  const heading = el(
    "h2",
    { tabindex: "-1" },
    el("bdi", {}, name(path)),
    () => stateBadge(status.value),
  );
  // The place stays that of the node.
  const close = () => setFilters({ in: untracked(() => placeOf(run.filters())), node: "" });
  const panel = el(
    "aside",
    { class: "node-panel", "aria-label": t("node") },
    heading,
    el(
      "div",
      { class: "actions" },
      el("button", { type: "button", on: { click: close } }, t("close")),
      el("button", { type: "button", on: { click: () => rerunFrom(run.id, [path]) } }, t("rerunFromHere")),
      ...copyButton(t("copyJson"), whole),
    ),
    () => isAsking(facts.value.state) ? el("p", {}, el("a", { href: answerHref(run.id, path) }, t("answerNow"))) : null,
    () => kindOf(level.value, path),
    () => times(facts.value),
    () => failureBox(facts.value.state.error ?? null),
    () => warnings(facts.value),
    () => attempts(facts.value.times?.spans ?? []),
    () => inputSection(inputs.value),
    () => hasText.value ? untracked(() => streamed(() => seen.value.stream, path)) : null,
    () => outputSection(facts.value.state.output),
    () => usage.value === null ? null : costSection(usage.value),
  );
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });
  return { panel, heading };
}

/**
 * @param {() => import("../run/project.js").Stream | null} stream
 * @param {string} path
 */
function streamed(stream, path) {
  const text = growingText(() => stream() ?? { text: "", epoch: -2 }, t("streamedText", { node: name(path) }), effect);
  return el("div", {}, el("h3", {}, t("textSoFar")), text);
}

/**
 * What its author calls it, and its node type.
 * @param {import("../graph/levels.js").Level | null} level Where it stands.
 * @param {string} path
 */
function kindOf(level, path) {
  const id = path.slice(path.lastIndexOf("/") + 1);
  if (level === null || level.prefix + id !== path) return null;
  const node = level.graph.nodes[level.graph.index.get(id) ?? -1];
  if (node === undefined || node.type === "") return null;
  const type = el("a", { href: href(["nodes", node.type]) }, el("bdi", {}, name(node.type)));
  return el("p", {}, node.title === id ? null : [el("bdi", {}, name(node.title)), verbatim(" · ")], type);
}

/** @param {NodeSeen} node */
function times({ state }) {
  const began = state.startedAt === undefined ? null : moment(state.startedAt);
  const took = state.startedAt && state.endedAt
    ? duration(Date.parse(state.endedAt) - Date.parse(state.startedAt))
    : null;
  return factList([
    [t("startedAt"), began],
    [t("duration"), took],
    [t("attempts"), state.attempts === undefined ? null : number(state.attempts)],
    [t("waitsForWord"), state.wait === undefined ? null : waitedFor(state.wait)],
    [t("until"), typeof state.wait?.until === "string" ? moment(state.wait.until) : null],
    [t("skipped"), state.status === "skipped" && state.reason ? skipReason(state.reason) : null],
    [t("cause"), state.cause ? name(state.cause) : null],
    [t("origin"), state.reused ? t("reused") : state.cached ? t("fromCache") : null],
  ]);
}

/**
 * What failed: the message, and beside it what the provider said itself.
 * @param {Failure | null} failure
 */
function failureBox(failure) {
  if (failure === null) return null;
  const { provider_message: words, ...others } = failure.details ?? {};
  return el(
    "div",
    { class: "error-box" },
    el("p", {}, verbatim(failure.message)),
    el("code", {}, verbatim(failure.code)),
    words === undefined ? null : el("h3", {}, t("providerWords")),
    words === undefined ? null : el("blockquote", {}, verbatim(words)),
    Object.keys(others).length === 0 ? null : el(
      "details",
      {},
      el("summary", {}, t("details")),
      el("pre", { class: "text", tabindex: "0", "aria-label": t("details") }, json(others)),
    ),
  );
}

/** @param {NodeSeen} node */
function warnings({ state }) {
  const told = (state.warnings ?? []).map((one) => el("li", {}, verbatim(one.message)));
  return told.length === 0 ? null : el("ul", { class: "warning", "aria-label": t("warnings") }, ...told);
}

/** @param {readonly Span[]} spans @returns {Plain} */
function attempts(spans) {
  const isPlain = spans.length === 1 && spans[0]?.failure === undefined;
  if (spans.length === 0 || isPlain) return null;
  return el("div", {}, el("h3", {}, t("attempts")), el("ol", { class: "attempts" }, ...spans.map(attempt)));
}

/** @param {Span} span */
function attempt(span) {
  const took = span.end === null ? t("since", { at: moment(span.begin) }) : duration(span.end - span.begin);
  const said = [headOf(span), took];
  if (span.kind === "retry" && span.until) said.push(t("nextAttempt", { at: moment(span.until) }));
  if (span.kind === "retry" && span.reason) said.push(verbatim(span.reason));
  const failure = span.failure === undefined ? null : failureBox(span.failure);
  return el("li", {}, ...said.flatMap((one, index) => index === 0 ? [one] : [verbatim(" · "), one]), failure);
}

/** @param {Span} span */
export function headOf(span) {
  if (span.kind === "retry") return t("beforeNext");
  if (span.kind === "wait") return t("waitsFor", { what: waitedFor(span.wait ?? {}) });
  if (span.outcome === undefined) return t("attempt", { n: span.attempt });
  const word = OUTCOMES.get(span.outcome);
  const outcome = word === undefined ? stateWord(span.outcome) : t(word);
  return t("attemptEnded", { n: span.attempt, outcome });
}

/**
 * What went in, asked for anew when the node begins again. Null before it came, a text when nobody knows.
 * @param {Followed} run
 * @param {string} path
 * @param {() => number} version
 */
function loadedInputs({ id, store }, path, version) {
  const inputs = signal(/** @type {Record<string, Input> | Shown | null} */ (null));
  const place = path.split("/").map(encodeURIComponent).join("/");
  const abort = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let again;
  let asked = 0;
  onEnd(() => {
    abort.abort();
    clearTimeout(again);
  });
  const load = async () => {
    clearTimeout(again);
    const own = ++asked;
    try {
      /** @type {{ inputs: Record<string, Input> }} */
      const found = await getJson(`api/prompt/${encodeURIComponent(id)}/inputs/${place}`, { signal: abort.signal });
      if (own === asked) inputs.value = found.inputs;
    } catch (error) {
      if (abort.signal.aborted || own !== asked) return;
      inputs.value = isPassing(error) ? t("gatewayAway") : t("inputsGone");
      if (isPassing(error)) again = setTimeout(load, AGAIN_MS);
      else if (!(error instanceof GatewayError)) throw error;
    }
  };
  const key = computed(() => store.isCaughtUp.value ? version() : -1);
  effect(() => {
    if (key.value >= 0) untracked(load);
  });
  return inputs;
}

/** @param {Record<string, Input> | Shown | null} inputs */
function inputSection(inputs) {
  const content = () => {
    if (inputs === null) return [el("p", { class: "quiet" }, t("loading"))];
    if (typeof inputs === "string") return [el("p", { class: "quiet" }, inputs)];
    const slots = Object.entries(inputs);
    return slots.length === 0
      ? [el("p", { class: "quiet" }, t("noInputs"))]
      : slots.map(([slot, input]) => inputBox(slot, input));
  };
  return el("section", { class: "panel-inputs", "aria-label": t("inputs") }, el("h3", {}, t("inputs")), ...content());
}

/**
 * @param {string} slot
 * @param {Input} input
 */
function inputBox(slot, input) {
  const word = ORIGINS.get(input.from);
  const sources = input.sources ?? (input.source === undefined ? [] : [input.source]);
  const said = [
    input.secret ? t("inputSecret") : null,
    input.missing ? t("inputMissing") : null,
    word === undefined ? null : t(word),
    ...sources.map(sourceLink),
  ].filter((one) => one !== null);
  return el(
    "div",
    { class: "input", "data-input": slot },
    input.value === undefined ? el("h3", {}, el("bdi", {}, name(slot))) : valueBox(slot, input.value),
    el("p", { class: "quiet" }, ...said.flatMap((one, at) => at === 0 ? [one] : [verbatim(", "), one])),
  );
}

/** @param {Source} source */
function sourceLink({ nodeId, slot }) {
  const way = el("a", { href: () => withFilters({ node: nodeId }) }, el("bdi", {}, name(nodeId)));
  return el("span", {}, way, verbatim(" · "), el("bdi", {}, name(slot)));
}

/** @param {Record<string, unknown> | undefined} output */
function outputSection(output) {
  const slots = Object.entries(output ?? {});
  if (slots.length === 0) return null;
  return el(
    "section",
    { class: "panel-outputs", "aria-label": t("outputs") },
    el("h3", {}, t("outputs")),
    ...slots.map(([slot, value]) => valueBox(slot, value)),
  );
}

/**
 * What its requests to models took. Events do not tell: it is asked for when the node has ended.
 * @param {Followed} run
 * @param {string} path
 * @param {() => number | null} endedAt
 */
function usageOf({ store }, path, endedAt) {
  const isOver = computed(() => endedAt() !== null);
  effect(() => {
    // What was loaded after the end of the run has all of it.
    const isAll = () => FINAL.has(store.summary.peek()?.status ?? "");
    if (isOver.value && store.isCaughtUp.value && !isAll()) untracked(() => store.refresh());
  });
  return computed(() => store.summary.value?.nodeStatus[path]?.usage ?? null);
}

/** @param {Usage} usage @returns {[Shown, Shown][]} */
export function usageRows(usage) {
  const cost = usage.cost === null ? t("costUnknown") : money(usage.cost, usage.currency);
  const tokens = t("tokens", {
    total: number(usage.totalTokens),
    in: number(usage.inputTokens),
    out: number(usage.outputTokens),
  });
  return [[t("requests"), number(usage.calls)], [t("tokensWord"), tokens], [t("cost"), cost]];
}

/** @param {Usage} usage */
function costSection(usage) {
  return el("section", { "aria-label": t("usage") }, el("h3", {}, t("usage")), factList(usageRows(usage)));
}
