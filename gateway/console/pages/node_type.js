/** One node type: what it does, and its slots and settings. */

import { getJson } from "../api/rest.js";
import { factList } from "../lib/facts.js";
import { json, name } from "../lib/format.js";
import { loadingHint } from "../lib/loading.js";
import { href } from "../lib/router.js";
import { el, verbatim } from "../lib/view.js";
import { language, t } from "../lib/words.js";
import { loadingCatalogue } from "./catalogue.js";
import { ownName } from "./node_search.js";

/** @typedef {import("./node_search.js").NodeType} NodeType */
/** @typedef {import("./node_search.js").Slot} Slot */
/** @typedef {import("./node_search.js").Slots} Slots */
/** @typedef {import("../lib/words.js").Word} Word */

/** Where a node runs. @type {ReadonlyMap<string, Word>} */
const PLACEMENTS = new Map([
  ["activity", "placedActivity"],
  ["inline", "placedInline"],
  ["workflow", "placedWorkflow"],
  ["thread", "placedThread"],
  ["process", "placedProcess"],
]);

/** @param {import("./page.js").PageContext} context @returns {import("./page.js").Page} */
export function nodeTypePage({ socket, parameters }) {
  const fullType = parameters.type ?? "";
  /** @type {import("../lib/loading.js").Loaded<NodeType>} */
  const loaded = loadingCatalogue(socket, () => getJson(`api/nodes/${encodeURIComponent(fullType)}`));
  const node = loaded.value;
  const title = () => name(node.value === null ? fullType : ownName(node.value, language.peek()));
  const content = el(
    "div",
    { class: "page" },
    el("p", {}, el("a", { href: href(["nodes"]) }, t("allNodeTypes"))),
    el("h1", { tabindex: "-1" }, el("bdi", {}, title)),
    loadingHint(loaded),
    () => node.value === null ? null : description(node.value),
    () => node.value === null ? null : parts(node.value),
  );
  return { title, content };
}

/** @param {NodeType} node */
function description(node) {
  const placement = PLACEMENTS.get(node.placement);
  const rows = factList([
    [t("fullType"), name(node.fullType)],
    [t("category"), name(node.category)],
    [t("runsIn"), placement === undefined ? name(node.placement) : t(placement)],
    [t("typeVersion"), name(node.version)],
  ]);
  const notes = [
    node.deterministic === true ? t("sameResults") : null,
    node.isPreviewUnsafe === true ? t("notInPreviews") : null,
  ];
  return el(
    "div",
    {},
    el("p", { class: "prose" }, verbatim(node.description)),
    rows,
    ...notes.map((note) => note === null ? null : el("p", { class: "quiet" }, note)),
  );
}

/** @param {NodeType} node */
function parts(node) {
  const modes = Object.values(node.modes ?? {}).map((mode) => {
    const told = el("p", { class: "prose" }, verbatim(mode.description));
    return el(
      "section",
      { class: "mode" },
      el("h2", {}, t("mode", { name: name(mode.displayName) })),
      told,
      slots(mode),
    );
  });
  return el("div", {}, slots(node), ...modes);
}

/** @param {Slots} node */
function slots({ inputs, outputs, configSchema = {} }) {
  return el(
    "div",
    { class: "columns" },
    slotList("inputs", inputs),
    slotList("outputs", outputs),
    slotList("settings", configSchema),
  );
}

/**
 * @param {Word} word
 * @param {Record<string, Slot>} found
 */
function slotList(word, found) {
  const all = Object.entries(found);
  if (all.length === 0) return null;
  const rows = all.map(([key, slot]) => slotRow(key, slot));
  return el("section", { "aria-label": t(word) }, el("h2", {}, t(word)), el("ul", { class: "slots" }, ...rows));
}

/**
 * @param {string} key
 * @param {Slot} slot
 */
function slotRow(key, slot) {
  const { config = {} } = slot;
  const limits = [["min", "noLessThan"], ["max", "noMoreThan"]].map(([limit, word]) => {
    const value = config[/** @type {string} */ (limit)];
    return value === undefined ? null : t(/** @type {Word} */ (word), { n: String(value) });
  });
  const facts = [
    name(slot.dataFlowType),
    slot.required === true ? t("isRequired") : null,
    typeof slot.required === "object" ? t("sometimesRequired") : null,
    slot.multi === true ? t("takesSeveral") : null,
    slot.isStream === true ? t("streams") : null,
    slot.secret === true ? t("isSecret") : null,
    ...limits,
  ];
  const told = facts.filter((fact) => fact !== null).map((fact) => el("li", {}, fact));
  return el(
    "li",
    {},
    el("h3", {}, el("code", {}, name(key)), verbatim(" "), slot.displayName ? name(slot.displayName) : null),
    el("ul", { class: "facts" }, ...told),
    slot.description ? el("p", { class: "prose" }, verbatim(slot.description)) : null,
    config.default === undefined ? null : valueLine("defaultValue", config.default),
    Array.isArray(config.suggestions) ? valueLine("suggestions", config.suggestions.map(labelOf).join(", ")) : null,
  );
}

/** A suggestion is a value, or a value with a label. @param {unknown} suggestion */
function labelOf(suggestion) {
  if (typeof suggestion === "object" && suggestion !== null && "value" in suggestion) return String(suggestion.value);
  return String(suggestion);
}

/**
 * @param {Word} word
 * @param {unknown} value
 */
function valueLine(word, value) {
  const shown = value === "" ? t("emptyText") : json(value);
  return el(
    "p",
    { class: "slot-value" },
    el("span", { class: "quiet" }, t(word)),
    verbatim(" "),
    el("code", {}, shown),
  );
}
