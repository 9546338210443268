/** What workflows are made of: the node types by category with a search, and the plugins they come from. */

import { getJson } from "../api/rest.js";
import { name } from "../lib/format.js";
import { labelled } from "../lib/labelled.js";
import { loadingHint } from "../lib/loading.js";
import { href, setFilter } from "../lib/router.js";
import { computed, each, el, untracked, verbatim } from "../lib/view.js";
import { language, t } from "../lib/words.js";
import { loadingCatalogue } from "./catalogue.js";
import { byCategory, found, ownName } from "./node_search.js";
import { pluginList } from "./plugins.js";

/** @typedef {import("./node_search.js").NodeType} NodeType */

/** @param {import("./page.js").PageContext} context @returns {import("./page.js").Page} */
export function nodesPage({ socket, filters }) {
  /** @type {import("../lib/loading.js").Loaded<readonly NodeType[]>} */
  const nodes = loadingCatalogue(socket, () => getJson("api/nodes"));
  const shown = computed(() => found(nodes.value.value ?? [], filters().q ?? ""));
  const count = () => nodes.value.value === null ? null : t("nodeTypesFound", { n: shown.value.length });
  const groups = each(() => byCategory(shown.value), ({ category }) => category, (group, category) => {
    const members = () => group.value.nodes;
    return el(
      "section",
      { "aria-label": name(category) },
      el("h3", {}, name(category)),
      el("ul", { class: "node-types" }, each(members, (node) => node.fullType, (node) => row(node))),
    );
  });
  const content = el(
    "div",
    { class: "page" },
    el("h1", { tabindex: "-1" }, t("nodeTypes")),
    pluginList(socket),
    el("h2", {}, t("catalogue")),
    search(filters),
    loadingHint(nodes),
    el("p", { class: "quiet", role: "status" }, count),
    groups,
  );
  return { title: () => t("nodeTypes"), content };
}

/** @param {() => Readonly<Record<string, string>>} filters */
function search(filters) {
  const field = el("input", { type: "search", id: "q", value: untracked(() => filters().q ?? "") });
  field.addEventListener("input", () => setFilter("q", field.value));
  return el(
    "form",
    { class: "filters", role: "search", on: { submit: (event) => event.preventDefault() } },
    labelled(t("searchNodeTypes"), field),
  );
}

/** @param {import("../lib/view.js").Readable<NodeType>} node */
function row(node) {
  const { fullType } = node.peek();
  return el(
    "li",
    { class: "type-row" },
    el("a", { href: href(["nodes", fullType]) }, el("bdi", {}, () => name(ownName(node.value, language.peek())))),
    el("code", {}, name(fullType)),
    el("p", { class: "quiet" }, () => verbatim(node.value.description)),
  );
}
