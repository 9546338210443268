/** The library of workflows: search, projects, the bin, and files to be taken in. */

import { GatewayError } from "../api/rest.js";
import {
  create,
  DEFAULT_PROJECT,
  fitting,
  makeProject,
  projects,
  restore,
  save,
  storedWorkflows,
} from "../library/workflows.js";
import { alertPlace, complaintOf } from "../lib/complaint.js";
import { openDialog } from "../lib/dialog.js";
import { moment, name } from "../lib/format.js";
import { parseJson } from "../lib/json.js";
import { labelled } from "../lib/labelled.js";
import { loading, loadingHint } from "../lib/loading.js";
import { followFilter, href, setFilter } from "../lib/router.js";
import { badge } from "../lib/state.js";
import { computed, each, el, signal, untracked, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";

/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {import("../library/workflows.js").Project} Project */
/** @typedef {import("../library/workflows.js").SavedWorkflow} SavedWorkflow */
/** @typedef {import("../library/workflows.js").StoredWorkflow} StoredWorkflow */
/** @typedef {{ workflows: StoredWorkflow[], projects: Project[] }} Found */
/** @typedef {{ found: import("../lib/loading.js").Loaded<Found>, say: (said: Shown | null, wrong?: Shown) => void }} Library */

const STEP = 100;

/** @param {import("./page.js").PageContext} context @returns {import("./page.js").Page} */
export function workflowsPage({ socket, filters }) {
  const isBin = computed(() => filters().bin === "1");
  const found = loading(socket, async () => {
    const [workflows, known] = await Promise.all([storedWorkflows(isBin.value), projects()]);
    return { workflows, projects: known };
  });
  const done = signal(/** @type {Shown | null} */ (null));
  const complaint = signal(/** @type {Shown | null} */ (null));
  const library = {
    found,
    say: (/** @type {Shown | null} */ said, /** @type {Shown | undefined} */ wrong) => {
      done.value = said;
      complaint.value = wrong ?? null;
    },
  };
  const limit = signal(STEP);
  const all = computed(() => fitting(found.value.value?.workflows ?? [], filters()));
  const more = el("button", { type: "button", on: { click: () => (limit.value += STEP) } }, t("more"));
  const hasAny = () => (found.value.value?.workflows.length ?? 0) > 0;
  const empty = () =>
    found.value.value === null || all.value.length > 0
      ? null
      : el("p", { class: "quiet" }, isBin.value ? t("binEmpty") : hasAny() ? t("noWorkflows") : t("noWorkflowsYet"));
  const content = el(
    "div",
    { class: "page" },
    el("h1", { tabindex: "-1" }, () => isBin.value ? t("bin") : t("workflows")),
    filterForm(filters, () => found.value.value?.projects ?? []),
    () => isBin.value ? backFromBin() : actions(library, filters),
    el("p", { role: "status" }, () => done.value ?? verbatim("")),
    alertPlace(() => complaint.value),
    loadingHint(found),
    el(
      "ul",
      { class: "runs" },
      each(() => all.value.slice(0, limit.value), keyOf, (one) => workflowRow(one, library)),
    ),
    empty,
    () => all.value.length > limit.value ? more : null,
  );
  return { title: () => t("workflows"), content };
}

/** @param {StoredWorkflow} workflow */
function keyOf({ projectId, id, deletedAt = "" }) {
  return JSON.stringify([projectId, id, deletedAt]);
}

/**
 * @param {() => Readonly<Record<string, string>>} filters
 * @param {() => Project[]} known
 */
function filterForm(filters, known) {
  const text = el("input", { type: "search", id: "q" });
  followFilter(text, filters, "q");
  text.addEventListener("input", () => setFilter("q", text.value));
  const select = el("select", { id: "project" }, () => {
    const chosen = filters().project ?? "";
    const option = (/** @type {string} */ value, /** @type {Shown} */ word) =>
      el("option", { value, selected: value === chosen }, word);
    return [option("", t("allProjects")), ...known().map((one) => option(one.id, name(one.name)))];
  });
  select.addEventListener("change", () => setFilter("project", select.value));
  return el(
    "form",
    { class: "filters", role: "search", on: { submit: (event) => event.preventDefault() } },
    labelled(t("project"), select),
    labelled(t("filterWorkflows"), text),
  );
}

/**
 * @param {Library} library
 * @param {() => Readonly<Record<string, string>>} filters
 */
function actions(library, filters) {
  const project = () => untracked(() => filters().project ?? "");
  const file = el("input", { type: "file", accept: ".json", multiple: true, hidden: true });
  file.addEventListener("change", async () => {
    await takeIn(library, [...file.files ?? []], project() || DEFAULT_PROJECT);
    file.value = "";
  });
  const button = (/** @type {Shown} */ word, /** @type {() => void} */ click) =>
    el("button", { type: "button", on: { click } }, word);
  return el(
    "div",
    { class: "actions" },
    button(t("importFiles"), () => file.click()),
    file,
    button(t("newProject"), () => newProject(library)),
    el("a", { href: href(["workflows"], { bin: "1" }) }, t("bin")),
  );
}

function backFromBin() {
  return el("p", {}, el("a", { href: href(["workflows"]) }, t("backToLibrary")));
}

/** @param {Library} library */
async function newProject({ found, say }) {
  const field = el("input", { id: "project-name", required: true, maxlength: "200", autocomplete: "off" });
  const content = [el("p", {}, el("label", { for: "project-name" }, t("projectName"))), field];
  if (!await openDialog(t("newProject"), content, { action: t("make") })) return;
  try {
    const made = await makeProject(field.value.trim());
    await found.reload();
    setFilter("project", made.id);
    say(t("projectMade", { name: name(made.name) }));
  } catch (error) {
    say(null, complaintOf(error));
  }
}

/**
 * Take workflows in, one file after the other: a known id makes a version, if somebody agrees.
 * @param {Library} library
 * @param {readonly File[]} files
 * @param {string} project
 */
async function takeIn({ found, say }, files, project) {
  /** @type {Shown[]} */
  const done = [];
  /** @type {Shown[]} */
  const failed = [];
  for (const file of files) {
    const of = name(file.name);
    try {
      const saved = await takeOne(file, project);
      if (saved !== null) done.push(savedWords(saved));
    } catch (error) {
      const why = error instanceof SyntaxError ? verbatim(error.message) : complaintOf(error);
      failed.push(verbatim(`${of}: ${why}`));
    }
  }
  say(verbatim(done.join(" ")), failed.length > 0 ? verbatim(failed.join("\n")) : undefined);
  await found.reload();
}

/**
 * @param {File} file
 * @param {string} project
 * @returns {Promise<SavedWorkflow | null>} Null: somebody changed her mind.
 */
async function takeOne(file, project) {
  const document = readDocument(await file.text(), file.name);
  try {
    return await create(document, project);
  } catch (error) {
    if (!(error instanceof GatewayError) || error.code !== "id_taken") throw error;
  }
  const id = String(document.id);
  const there = (await storedWorkflows(false)).find((one) => one.id === id && one.projectId === project);
  const hint = el("p", {}, t("newVersionHint", { name: name(there?.name ?? id), n: there?.version ?? 1 }));
  if (!await openDialog(t("newVersion"), [hint], { action: t("saveVersion") })) return null;
  return await save({ id, project }, document, there?.etag ?? "*");
}

/**
 * What a file holds; without an id it has the file's own name as one.
 * @param {string} text
 * @param {string} fileName
 * @returns {Record<string, unknown>}
 * @throws {SyntaxError} It is no JSON object.
 */
export function readDocument(text, fileName) {
  const document = parseJson(text);
  if (typeof document !== "object" || document === null || Array.isArray(document)) {
    throw new SyntaxError(t("noWorkflow"));
  }
  return { id: fileName.replace(/\.json$/i, ""), ...document };
}

/** @param {SavedWorkflow} saved */
function savedWords({ name: own, version, isNewVersion, valid }) {
  const values = { name: name(own), n: version };
  if (!isNewVersion) return t("savedUnchanged", values);
  return valid ? t("savedAs", values) : t("savedAsDraft", values);
}

/**
 * @param {import("../lib/view.js").Readable<StoredWorkflow>} one
 * @param {Library} library
 */
function workflowRow(one, library) {
  const place = () => ({ id: one.value.id, project: one.value.projectId });
  const facts = () => {
    const { id, projectId, version, published, tags, deletedAt, updatedAt, description, reason } = one.value;
    return [
      el("code", {}, name(id)),
      el("span", { title: t("project") }, name(projectId)),
      el("span", {}, t("versionN", { n: version })),
      published === null ? null : el("span", {}, t("publishedN", { n: published })),
      el("span", { title: t("changedAt") }, moment(deletedAt ?? updatedAt)),
      tags.length === 0 ? null : el("span", { title: t("tags") }, name(tags.join(", "))),
      description === undefined || description === "" ? null : el("span", {}, name(description)),
      reason === undefined ? null : el("span", { class: "warning" }, verbatim(reason)),
    ];
  };
  return el(
    "li",
    { class: "run-row workflow-row" },
    () => validBadge(one.value.valid),
    () => one.value.deletedAt === undefined ? workflowLink(one.value) : el("bdi", {}, name(one.value.name)),
    () => one.value.deletedAt === undefined ? startLink(one.value) : restoreButton(place(), one.value.name, library),
    el("span", { class: "row-facts" }, facts),
  );
}

/** Does it compile? @param {boolean} isValid */
export function validBadge(isValid) {
  return isValid ? badge("complete", t("canRun")) : badge("waiting", t("draft"), verbatim("✎"));
}

/** @param {StoredWorkflow} workflow */
function workflowLink({ id, projectId, name: own }) {
  return el("a", { href: href(["workflows", id], { project: projectId }) }, el("bdi", {}, name(own)));
}

/** @param {StoredWorkflow} workflow */
function startLink({ id, projectId, name: own }) {
  const way = href(["start", id], { project: projectId });
  return el("a", { href: way, "aria-label": t("startOf", { name: name(own) }) }, t("start"));
}

/**
 * @param {import("../library/workflows.js").Place} place
 * @param {string} own
 * @param {Library} library
 */
function restoreButton(place, own, { found, say }) {
  const click = async () => {
    try {
      await restore(place);
      await found.reload();
      say(t("restored", { name: name(own) }));
    } catch (error) {
      say(null, complaintOf(error));
    }
  };
  return el("button", { type: "button", on: { click } }, t("restore"));
}
