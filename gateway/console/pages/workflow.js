/** One workflow of the library: what it takes and gives, its versions, and how two of them differ. */

import {
  documentOf,
  moveToBin,
  publish,
  storedWorkflows,
  unpublish,
  versionsOf,
  versionThatRuns,
} from "../library/workflows.js";
import { alertPlace, complaintOf } from "../lib/complaint.js";
import { openDialog } from "../lib/dialog.js";
import { factList } from "../lib/facts.js";
import { moment, name } from "../lib/format.js";
import { loading, loadingHint } from "../lib/loading.js";
import { go, href, setFilters } from "../lib/router.js";
import { saveBlob } from "../lib/saving.js";
import { computed, el, signal, untracked, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { differenceView, onlyGraph } from "./workflow_difference.js";
import { validBadge } from "./workflows.js";

/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {import("../library/workflows.js").Place} Place */
/** @typedef {import("../library/workflows.js").StoredWorkflow} StoredWorkflow */
/** @typedef {import("../library/workflows.js").Version} Version */
/** `workflow` is null when it is not in the list. @typedef {{ workflow: StoredWorkflow | null, versions: Version[] }} Found */
/**
 * @typedef {{
 *   place: Place,
 *   found: import("../lib/loading.js").Loaded<Found>,
 *   act: (does: () => Promise<void>, next?: () => Promise<void>) => Promise<void>,
 * }} Shelf
 */

const STEP = 50;

/** @param {import("./page.js").PageContext} context @returns {import("./page.js").Page} */
export function workflowPage({ socket, parameters, filters }) {
  const id = parameters.id ?? "";
  const project = computed(() => filters().project ?? "");
  const found = loading(socket, async () => {
    const place = { id, project: project.value };
    const [versions, all] = await Promise.all([versionsOf(place), storedWorkflows(false)]);
    const same = all.filter((one) => one.id === id && (place.project === "" || one.projectId === place.project));
    return { workflow: same[0] ?? null, versions };
  });
  const complaint = signal(/** @type {Shown | null} */ (null));
  const act = async (/** @type {() => Promise<void>} */ does, next = found.reload) => {
    try {
      await does();
      complaint.value = null;
      await next();
    } catch (error) {
      complaint.value = complaintOf(error);
      await found.reload(); // somebody else may have changed it: this shows what there is now
    }
  };
  const place = {
    id,
    get project() {
      return project.peek();
    },
  };
  const shelf = { place, found, act };
  const limit = signal(STEP);
  const title = () => name(found.value.value?.workflow?.name ?? id);
  // Versions do not change: the same two are not asked for and drawn anew, or the keyboard would lose its place.
  const pairKey = computed(() => JSON.stringify(pairOf(filters(), found.value.value?.versions ?? [])));
  const pair = computed(() => /** @type {ReturnType<typeof pairOf>} */ (JSON.parse(pairKey.value)));
  const newest = computed(() => found.value.value?.versions[0]?.version);
  const content = el(
    "div",
    { class: "page" },
    el("h1", { tabindex: "-1" }, el("bdi", {}, title)),
    loadingHint(found),
    () => found.problem.value === null ? null : wayBack(),
    () => facts(found.value.value),
    () => actions(shelf),
    alertPlace(() => complaint.value),
    el(
      "section",
      { "aria-label": t("versions"), hidden: () => found.value.value === null },
      el("h2", {}, t("versions")),
      () => versionTable(shelf, pair.value, limit),
    ),
    differenceView(socket, place, pair),
    () => pair.value === null ? onlyGraph(socket, place, newest.value) : null,
  );
  return { title, content };
}

/**
 * Which versions are compared: those of the address, else the newest with the one before.
 * @param {Readonly<Record<string, string>>} filters
 * @param {readonly Version[]} versions
 * @returns {{ from: number, to: number } | null}
 */
export function pairOf(filters, versions) {
  const [newest, before] = versions;
  const numberOf = (/** @type {string | undefined} */ text) => /^\d+$/.test(text ?? "") ? Number(text) : undefined;
  const to = numberOf(filters.to) ?? newest?.version;
  const from = numberOf(filters.from) ?? before?.version;
  return from === undefined || to === undefined || from === to ? null : { from, to };
}

/** Where there is nothing to see, there is a way on. */
export function wayBack() {
  return el("p", {}, el("a", { href: href(["workflows"]) }, t("backToLibrary")));
}

/** @param {Found | null} found */
function facts(found) {
  if (found === null || found.workflow === null) return null;
  const { id, description, projectId, tags, reason, interface: { inputs = {}, outputs = {} } } = found.workflow;
  const slots = (/** @type {typeof inputs} */ all) =>
    name(Object.entries(all).map(([key, slot]) => `${key} (${slot.dataFlowType})`).join(", ")) || t("none");
  const rows = factList([
    [t("workflowId"), name(id)],
    [t("project"), name(projectId)],
    [t("tags"), name(tags.join(", ")) || t("none")],
    [t("inputs"), slots(inputs)],
    [t("outputs"), slots(outputs)],
  ]);
  return [
    description ? el("p", {}, verbatim(description)) : null,
    rows,
    reason === undefined ? null : el("p", { class: "warning" }, verbatim(reason)),
  ];
}

/** @param {Shelf} shelf */
function actions({ place, found, act }) {
  const here = found.value.value;
  if (here === null) return null;
  const { workflow, versions } = here;
  const button = (/** @type {Shown} */ word, /** @type {() => void} */ click) =>
    el("button", { type: "button", on: { click } }, word);
  const download = () =>
    act(async () => {
      const document = await documentOf(place, versions[0]?.version ?? 1);
      const text = JSON.stringify(document, null, 2);
      saveBlob(`${place.id}.json`, new Blob([text], { type: "application/json" }));
    });
  const remove = async () => {
    if (workflow === null) return;
    const hint = [el("p", {}, t("deleteWorkflowHint"))];
    const title = t("deleteWorkflow", { name: name(workflow.name) });
    if (!await openDialog(title, hint, { action: t("delete") })) return;
    await act(() => moveToBin(place, workflow.etag), () => Promise.resolve(go(["workflows"])));
  };
  return el(
    "div",
    { class: "actions" },
    el("a", { class: "button", href: href(["start", place.id], { project: place.project }) }, t("start")),
    button(t("exportWorkflow"), download),
    workflow === null ? null : button(t("delete"), remove),
    el("a", { href: href(["runs"], { workflowId: place.id }) }, t("runsOfIt")),
    el("a", { href: href(["workflows"]) }, t("workflows")),
  );
}

/**
 * @param {Shelf} shelf
 * @param {{ from: number, to: number } | null} pair
 * @param {import("../lib/view.js").Signal<number>} limit So many rows are shown.
 */
function versionTable(shelf, pair, limit) {
  const here = shelf.found.value.value;
  if (here === null) return null;
  const { versions } = here;
  const running = versionThatRuns(versions)?.version;
  const columns = [t("version"), t("state"), t("savedAt"), t("author"), t("note"), t("compareFrom"), t("compareTo")];
  const heads = [...columns, t("actions")].map((word) => el("th", { scope: "col" }, word));
  const rows = versions.slice(0, limit.value).map((one) =>
    versionRow(shelf, one, { pair, isRunning: one.version === running })
  );
  const more = el("button", { type: "button", on: { click: () => (limit.value += STEP) } }, t("more"));
  return [
    el(
      "div",
      { class: "wide", tabindex: "0", role: "group", "aria-label": t("versions") },
      el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows)),
    ),
    versions.length > limit.value ? more : null,
  ];
}

/**
 * @param {Shelf} shelf
 * @param {Version} one
 * @param {{ pair: { from: number, to: number } | null, isRunning: boolean }} state
 */
function versionRow({ place, found, act }, one, { pair, isRunning }) {
  const { version, valid, published } = one;
  const choice = (/** @type {"from" | "to"} */ side) => {
    const label = t(side === "from" ? "compareFromN" : "compareToN", { n: version });
    const radio = el("input", { type: "radio", name: `compare-${side}`, "aria-label": label });
    radio.checked = pair?.[side] === version;
    radio.addEventListener("change", () => {
      const now = { from: String(pair?.from ?? ""), to: String(pair?.to ?? "") };
      setFilters({ ...now, [side]: String(version) });
    });
    return radio;
  };
  const etag = untracked(() => found.value.value?.workflow?.etag ?? "*");
  const button = (/** @type {Shown} */ word, /** @type {() => void} */ click, /** @type {Shown} */ label) =>
    el("button", { type: "button", "aria-label": label, on: { click } }, word);
  const publication = published
    ? button(t("unpublish"), () => act(() => unpublish(place, etag)), t("unpublishN", { n: version }))
    : valid
    ? button(t("publish"), () => act(() => publish(place, version, etag)), t("publishN", { n: version }))
    : null;
  const way = href(["start", place.id], { project: place.project, version: String(version) });
  const said = [
    validBadge(valid),
    published ? el("span", {}, t("published")) : null,
    isRunning ? el("span", {}, t("runsById")) : null,
  ];
  return el(
    "tr",
    { "data-version": String(version) },
    el("th", { scope: "row" }, verbatim(version)),
    el("td", {}, ...said),
    el("td", {}, moment(one.savedAt)),
    el("td", {}, el("bdi", {}, name(one.author))),
    el("td", {}, el("bdi", {}, name(one.note))),
    el("td", {}, choice("from")),
    el("td", {}, choice("to")),
    el(
      "td",
      {},
      publication,
      valid ? el("a", { href: way, "aria-label": t("startN", { n: version }) }, t("start")) : null,
    ),
  );
}
