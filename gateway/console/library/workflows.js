/** The library of workflows: what the gateway tells of it, and what it is asked to change. */

import { change, getJson } from "../api/rest.js";

/** @typedef {import("../api/rest.js").Problem} Problem */
/** @typedef {Record<string, unknown>} Json */
/** @typedef {{ dataFlowType?: string, displayName?: string }} SlotGlance */
/**
 * @typedef {{
 *   id: string,
 *   name: string,
 *   description?: string,
 *   tags: readonly string[],
 *   projectId: string,
 *   version: number,
 *   published: number | null,
 *   valid: boolean,
 *   reason?: string,
 *   interface: { inputs?: Record<string, SlotGlance>, outputs?: Record<string, SlotGlance> },
 *   updatedAt: string,
 *   deletedAt?: string,
 *   etag: string,
 * }} StoredWorkflow
 */
/** @typedef {StoredWorkflow & { isNewVersion: boolean, problems: Problem[] }} SavedWorkflow */
/**
 * @typedef {{
 *   version: number, etag: string, author: string, savedAt: string, note: string, valid: boolean, published: boolean,
 * }} Version
 */
/** @typedef {{ id: string, name: string, description?: string }} Project */
/** A workflow by its id, in a project; "" leaves it to the gateway. @typedef {{ id: string, project: string }} Place */

const MOST_VERSIONS = 1000;
const MOST_LISTED = 5000;
export const DEFAULT_PROJECT = "default";

/** @param {Place} place @param {string} [more] Behind the id. */
function pathOf({ id }, more = "") {
  return `api/workflows/${encodeURIComponent(id)}${more}`;
}

/** @param {Place} place @returns {Record<string, string>} */
function queryOf({ project }) {
  return project === "" ? {} : { project };
}

/** @param {boolean} isBin @returns {Promise<StoredWorkflow[]>} */
export function storedWorkflows(isBin) {
  const query = { limit: String(MOST_LISTED), ...(isBin ? { deleted: "true" } : {}) };
  return getJson("api/workflows", { query });
}

/** @returns {Promise<Project[]>} */
export function projects() {
  return getJson("api/projects");
}

/** @param {string} name @returns {Promise<Project>} */
export async function makeProject(name) {
  return /** @type {Project} */ (await change("POST", "api/projects", { body: { name } }));
}

/** @param {Place} place @returns {Promise<Version[]>} The newest first. */
export function versionsOf(place) {
  return getJson(pathOf(place, "/versions"), { query: { ...queryOf(place), limit: String(MOST_VERSIONS) } });
}

/** @param {Place} place @param {number} version @returns {Promise<Json>} */
export function documentOf(place, version) {
  return getJson(pathOf(place, `/versions/${version}`), { query: queryOf(place) });
}

/**
 * @param {Place} place
 * @param {number} from
 * @param {number} to
 * @returns {Promise<import("./difference.js").WorkflowDiff>}
 */
export function differenceOf(place, from, to) {
  return getJson(pathOf(place, "/diff"), { query: { ...queryOf(place), from: String(from), to: String(to) } });
}

/**
 * @param {Place} place
 * @param {number} version
 * @param {string} etag Of what was seen: somebody else may have changed it since.
 */
export async function publish(place, version, etag) {
  const options = { query: queryOf(place), headers: { "If-Match": etag }, body: { version } };
  await change("POST", pathOf(place, "/publish"), options);
}

/** @param {Place} place @param {string} etag */
export async function unpublish(place, etag) {
  await change("DELETE", pathOf(place, "/publish"), { query: queryOf(place), headers: { "If-Match": etag } });
}

/** @param {Place} place @param {string} etag */
export async function moveToBin(place, etag) {
  await change("DELETE", pathOf(place), { query: queryOf(place), headers: { "If-Match": etag } });
}

/** @param {Place} place */
export async function restore(place) {
  await change("POST", pathOf(place, "/restore"), { query: queryOf(place) });
}

/**
 * Store a new workflow.
 * @param {Json} document
 * @param {string} project
 * @returns {Promise<SavedWorkflow>}
 */
export async function create(document, project) {
  const query = queryOf({ id: "", project });
  return /** @type {SavedWorkflow} */ (await change("POST", "api/workflows", { query, body: document }));
}

/**
 * Store the next version of a workflow that is there.
 * @param {Place} place
 * @param {Json} document
 * @param {string} etag
 * @returns {Promise<SavedWorkflow>}
 */
export async function save(place, document, etag) {
  const options = { query: queryOf(place), headers: { "If-Match": etag }, body: document };
  return /** @type {SavedWorkflow} */ (await change("PUT", pathOf(place), options));
}

/**
 * The version that a run by id takes: the published one, else the newest that compiles. Without any the newest, whose
 * problems the gateway tells.
 * @param {readonly Version[]} versions The newest first.
 */
export function versionThatRuns(versions) {
  return versions.find((one) => one.published) ?? versions.find((one) => one.valid) ?? versions[0];
}

/**
 * The workflows that fit.
 * @param {readonly StoredWorkflow[]} workflows
 * @param {Readonly<Record<string, string>>} filters `project`, and `q`: a part of id, name, description or a tag.
 */
export function fitting(workflows, { project = "", q = "" }) {
  const wanted = q.trim().toLowerCase();
  return workflows.filter(({ id, name, description = "", tags, projectId }) => {
    const texts = [id, name, description, ...tags];
    return (project === "" || projectId === project) && texts.some((one) => one.toLowerCase().includes(wanted));
  });
}
