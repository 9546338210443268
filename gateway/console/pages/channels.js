/** Channels: where language models are. Each is tested by a question, and what was seen is told. */

import { getJson } from "../api/rest.js";
import { complaintPlace } from "../lib/complaint.js";
import { factList } from "../lib/facts.js";
import { duration, name, number } from "../lib/format.js";
import { href } from "../lib/router.js";
import { badge } from "../lib/state.js";
import { computed, each, el, onEnd, signal, untracked, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { ask, costOf, WITH_SCHEMA, WITH_TOOLS } from "../run/channel_test.js";
import { capabilities } from "../run/heard.js";
import { keepFresh, listHint, update } from "../run/lists.js";

/**
 * @typedef {{
 *   id: string, label: string, adapterType: string, baseUrl: string, apiKey: string, supportedModels: string[],
 *   defaultFor: string[], disabled: boolean, isEditable: boolean,
 * }} Channel
 */
/** @typedef {import("../api/socket.js").GatewaySocket} GatewaySocket */
/** @typedef {import("../lib/words.js").Word} Word */
/** @typedef {import("../run/heard.js").Heard} Heard */
/** @typedef {import("../run/heard.js").Seen} Seen */
/**
 * What a test has shown.
 * @typedef {{ run: string, plain: Heard, tools?: Heard, json?: Heard, cost: { cost?: unknown, currency?: string } }} Result
 */

/** @type {Record<Seen, Word>} */
const SEEN = { yes: "seenYes", no: "seenNo", notSeen: "seenNot", notTried: "notTried" };

/** @param {GatewaySocket} socket */
export function channelList(socket) {
  const channels = signal(/** @type {readonly Channel[] | null} */ (null));
  const fresh = keepFresh(socket, async () => update(channels, await getJson("api/llm/channels")));
  const rows = each(() => channels.value ?? [], ({ id }) => id, (channel) => row(channel, socket));
  return el(
    "section",
    { "aria-label": t("channels") },
    el("h2", {}, t("channels")),
    listHint(fresh, () => channels.value, t("noChannels")),
    el("ul", { class: "channels" }, rows),
  );
}

/**
 * @param {import("../lib/view.js").Readable<Channel>} channel
 * @param {GatewaySocket} socket
 */
function row(channel, socket) {
  const isOff = computed(() => channel.value.disabled);
  const facts = () => {
    const { id, adapterType, baseUrl, apiKey, supportedModels, disabled, isEditable } = channel.value;
    return [
      disabled ? badge("interrupted", t("channelOff")) : null,
      el("code", {}, name(id)),
      el("span", {}, name(adapterType)),
      el("code", {}, name(baseUrl)),
      apiKey === "" ? el("span", {}, t("withoutKey")) : el("span", {}, t("withKey")),
      el("span", {}, isEditable ? t("ownChannel") : t("operatorsChannel")),
      el("span", {}, supportedModels.length === 0 ? t("allModels") : t("someModels", { n: supportedModels.length })),
    ];
  };
  return el(
    "li",
    { class: "channel-row" },
    el("h3", {}, el("bdi", {}, () => name(channel.value.label))),
    el("div", { class: "row-facts" }, facts),
    () => isOff.value ? null : untracked(() => tester(channel.peek(), socket)),
  );
}

/**
 * @param {Channel} channel
 * @param {GatewaySocket} socket
 */
function tester(channel, socket) {
  const result = signal(/** @type {Result | null} */ (null));
  const isBusy = signal(false);
  const { attempt, place } = complaintPlace();
  const leaving = new AbortController();
  onEnd(() => leaving.abort());
  const [model, more] = [modelField(channel), el("input", { type: "checkbox", id: `more-${channel.id}` })];
  const start = async (/** @type {Event} */ event) => {
    event.preventDefault();
    isBusy.value = true;
    result.value = null;
    const whom = { channel: channel.id, model: model.field.value.trim() };
    await attempt(async () => {
      result.value = await testAll(socket, whom, { triesAll: more.checked, signal: leaving.signal });
    });
    isBusy.value = false;
  };
  return el(
    "form",
    { class: "actions", on: { submit: start } },
    el("label", { for: model.field.id }, t("modelToAsk")),
    model.field,
    model.list,
    el("span", {}, more, verbatim(" "), el("label", { for: more.id }, t("testMore"))),
    el(
      "button",
      {
        disabled: () => isBusy.value,
        "aria-label": verbatim(`${t("testChannel")} ${name(channel.label)}`),
      },
      () => isBusy.value ? t("testing") : t("testChannel"),
    ),
    place,
    el("div", { role: "status", class: "test-result" }, () => result.value === null ? null : told(result.value)),
  );
}

/**
 * Models that are known to be there are offered; any other may be typed.
 * @param {Channel} channel
 */
function modelField({ id, defaultFor, supportedModels }) {
  const [first = ""] = [...defaultFor, ...supportedModels];
  const list = el("datalist", { id: `models-of-${id}` });
  const field = el("input", { id: `model-of-${id}`, list: list.id, value: first, required: true, autocomplete: "off" });
  const fill = async () => {
    /** @type {{ id: string }[]} */
    const known = await getJson(`api/llm/channels/${encodeURIComponent(id)}/list-models`);
    list.replaceChildren(...known.map((model) => el("option", { value: model.id })));
    if (field.value === "") field.value = known[0]?.id ?? "";
  };
  fill().catch(() => {}); // without the list any model may be typed
  return { field, list };
}

/**
 * @param {GatewaySocket} socket
 * @param {{ channel: string, model: string }} whom
 * @param {{ triesAll: boolean, signal: AbortSignal }} options
 * @returns {Promise<Result>}
 */
async function testAll(socket, whom, { triesAll, signal }) {
  const { run, heard: plain } = await ask(socket, whom, { signal });
  const cost = await costOf(run);
  if (!triesAll || !plain.isAnswered) return { run, plain, cost };
  const { heard: tools } = await ask(socket, whom, { wish: WITH_TOOLS, signal });
  const { heard: json } = await ask(socket, whom, { wish: WITH_SCHEMA, signal });
  return { run, plain, tools, json, cost };
}

/** @param {Result} result */
function told({ run, plain, tools, json, cost }) {
  const way = el("a", { href: href(["run", run]) }, t("testRun"));
  if (!plain.isAnswered) {
    const reason = plain.trouble?.message;
    return el(
      "div",
      {},
      badge("error", t("noAnswer")),
      el("p", { class: "error" }, reason === undefined ? t("noReason") : verbatim(reason)),
      way,
    );
  }
  const able = capabilities(plain, { ...(tools ? { tools } : {}), ...(json ? { json } : {}) });
  const { usage } = plain.end;
  const rows = factList([
    [t("modelAnswered"), plain.end.model ? name(plain.end.model) : t("notTold")],
    [t("firstPiece"), plain.firstMs === null ? t("seenNot") : duration(plain.firstMs)],
    [t("wholeAnswer"), duration(plain.wholeMs ?? 0)],
    [t("tokensWord"), usage ? t("tokensInOut", tokens(usage)) : t("notTold")],
    [
      t("cost"),
      cost.cost === undefined || cost.cost === null ? t("costUnknown") : name(`${cost.cost} ${cost.currency}`),
    ],
    [t("canPieces"), t(SEEN[able.pieces])],
    [t("canReason"), t(SEEN[able.reasoning])],
    [t("canTools"), t(SEEN[able.tools])],
    [t("canJson"), t(SEEN[able.json])],
  ]);
  return el("div", {}, badge("complete", t("answers")), rows, way);
}

/** @param {{ prompt_tokens?: number, completion_tokens?: number }} usage */
function tokens({ prompt_tokens: asked, completion_tokens: answered }) {
  const shown = (/** @type {number | undefined} */ n) => n === undefined ? "?" : number(n);
  return { asked: shown(asked), answered: shown(answered) };
}
