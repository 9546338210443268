/** Start a workflow: a form of its inputs, what the gateway says of them, and the same call from elsewhere. */

import { change, GatewayError, getJson, submit } from "../api/rest.js";
import { token } from "../api/token.js";
import { bodyOf, curlOf, pythonOf } from "../forms/call.js";
import { fedTypes, feedsOf, fieldsOf, inputsOf, secrecy } from "../forms/feeds.js";
import { labelOf } from "../forms/fields.js";
import { makeForm } from "../forms/form.js";
import { keepValues, keptValues } from "../forms/kept.js";
import { documentOf, versionsOf, versionThatRuns } from "../library/workflows.js";
import { complaintOf } from "../lib/complaint.js";
import { copyButton } from "../lib/copy.js";
import { moment, name } from "../lib/format.js";
import { labelled } from "../lib/labelled.js";
import { loading, loadingHint } from "../lib/loading.js";
import { go, href, setFilter } from "../lib/router.js";
import { textBox } from "../lib/values.js";
import { computed, effect, el, signal, untracked, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { wayBack } from "./workflow.js";

/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {import("../api/rest.js").Problem} Problem */
/** @typedef {import("../forms/feeds.js").NodeType} NodeType */
/** @typedef {import("../forms/slots.js").Slot} Slot */
/** @typedef {import("../library/workflows.js").Place} Place */
/** @typedef {import("../library/workflows.js").Version} Version */
/**
 * What is to be started. `chosen`: the version that somebody asked for; null leaves it to the gateway. `unkept`: inputs
 * that may hold a secret.
 * @typedef {{
 *   place: Place,
 *   versions: readonly Version[],
 *   chosen: number | null,
 *   document: Record<string, unknown>,
 *   slots: [string, Slot][],
 *   feeds: Map<string, import("../forms/feeds.js").Target[]>,
 *   unkept: readonly string[],
 * }} Startable
 */

/** @param {import("./page.js").PageContext} context @returns {import("./page.js").Page} */
export function startPage({ socket, parameters, filters }) {
  const id = parameters.id ?? "";
  const project = computed(() => filters().project ?? "");
  const version = computed(() => filters().version ?? "");
  const found = loading(socket, () => startable({ id, project: project.value }, version.value));
  const title = () => name(String(found.value.value?.document.name ?? id));
  const content = el(
    "div",
    { class: "page start-page" },
    el("h1", { tabindex: "-1" }, t("start"), el("bdi", {}, title)),
    () => description(found.value.value),
    () => versionChoice(found.value.value),
    loadingHint(found),
    () => found.problem.value === null ? null : wayBack(),
    () => {
      const what = found.value.value;
      return what === null ? null : untracked(() => startForm(what));
    },
  );
  return { title: () => verbatim(`${t("start")} · ${title()}`), content };
}

/**
 * @param {Place} place
 * @param {string} asked Number of a version; "" takes what runs by id take.
 * @returns {Promise<Startable>}
 */
async function startable(place, asked) {
  const versions = await versionsOf(place);
  const chosen = /^\d+$/.test(asked) ? Number(asked) : null;
  const document = await documentOf(place, chosen ?? versionThatRuns(versions)?.version ?? 1);
  const feeds = feedsOf(document);
  const types = await nodeTypes(fedTypes(feeds));
  const secrets = new Map(
    inputsOf(document).map(([key, slot]) => [key, secrecy(key, slot, feeds.get(key) ?? [], types)]),
  );
  /** @type {[string, Slot][]} */
  const slots = inputsOf(document).map(([key, slot]) => [key, { ...slot, secret: secrets.get(key) === "whole" }]);
  const unkept = [...secrets].filter(([, how]) => how !== "none").map(([key]) => key);
  return { place, versions, chosen, document, slots, feeds, unkept };
}

/**
 * @param {readonly string[]} names
 * @returns {Promise<Map<string, NodeType>>} Without those that are not there: the gateway will say so of the workflow.
 */
async function nodeTypes(names) {
  const found = await Promise.all(names.map(async (full) => {
    try {
      return /** @type {[string, NodeType][]} */ ([[full, await getJson(`api/nodes/${encodeURIComponent(full)}`)]]);
    } catch (error) {
      if (error instanceof GatewayError && error.status === 404) return [];
      throw error;
    }
  }));
  return new Map(found.flat());
}

/** @param {Startable | null} what */
function description(what) {
  if (what === null) return null;
  const said = what.document.description;
  const way = href(["workflows", what.place.id], { project: what.place.project });
  return [
    typeof said === "string" && said !== "" ? el("p", {}, verbatim(said)) : null,
    el(
      "p",
      { class: "links" },
      el("a", { href: way }, t("versionsAndMore")),
      el("a", { href: href(["runs"], { workflowId: what.place.id }) }, t("runsOfIt")),
    ),
  ];
}

/** @param {Startable | null} what */
function versionChoice(what) {
  if (what === null || (what.versions.length < 2 && what.chosen === null)) return null;
  const byId = versionThatRuns(what.versions);
  const options = what.versions.map((one) => {
    const said = [`${one.version}`, moment(one.savedAt), name(one.note), one.valid ? "" : t("draft")];
    const isChosen = one.version === what.chosen;
    return el(
      "option",
      { value: String(one.version), selected: isChosen },
      verbatim(said.filter((part) => part !== "").join(" · ")),
    );
  });
  const first = el(
    "option",
    { value: "", selected: what.chosen === null },
    t("versionByRule", { n: byId?.version ?? 1 }),
  );
  const select = el("select", { id: "version" }, first, ...options);
  select.addEventListener("change", () => setFilter("version", select.value));
  return el("p", { class: "filters" }, labelled(t("version"), select));
}

/** @param {Startable} what */
function startForm(what) {
  const { place, chosen, slots, unkept } = what;
  const keptAs = `${place.project}/${place.id}`;
  const typed = keptValues(keptAs);
  const form = makeForm(slots, { typed });
  effect(() => {
    const safe = [...form.values.value].filter(([key]) => !unkept.includes(key));
    untracked(() => keepValues(keptAs, new Map(safe)));
  });
  const said = signal(/** @type {readonly Shown[]} */ ([]));
  const isFine = signal(false);
  const isBusy = signal(false);
  const ask = async (/** @type {(body: ReturnType<typeof bodyOf>) => Promise<readonly Problem[]>} */ send) => {
    const inputs = form.read();
    isFine.value = false;
    if (inputs === null || isBusy.peek()) return;
    isBusy.value = true;
    try {
      const problems = await send(bodyOf({ ...calledAs(place, chosen), inputs }));
      said.value = told(what, form, problems);
      isFine.value = problems.every((problem) => problem.level === "warning");
    } catch (error) {
      const problems = error instanceof GatewayError ? error.problems : [];
      said.value = problems.length > 0 ? told(what, form, problems) : [complaintOf(error)];
    } finally {
      isBusy.value = false;
    }
  };
  const start = (/** @type {Event} */ event) => {
    event.preventDefault();
    return ask(async (body) => {
      go(["run", await submit(body)]);
      return [];
    });
  };
  const check = () => ask(checked);
  const defaults = () => form.fill(new Map());
  return el(
    "form",
    { class: "start", novalidate: true, on: { submit: start } },
    slots.length === 0 ? el("p", { class: "quiet" }, t("noInputs")) : null,
    typed.size > 0 ? el("p", { class: "quiet" }, t("lastInputs")) : null,
    form.element,
    el("div", { role: "alert" }, () => problemList(said.value)),
    el("p", { role: "status" }, () => isFine.value ? t("checkedFine") : verbatim("")),
    el(
      "div",
      { class: "actions" },
      el(
        "button",
        { class: "primary", disabled: () => isBusy.value },
        () => isBusy.value ? t("starting") : t("start"),
      ),
      el("button", { type: "button", on: { click: check } }, t("check")),
      slots.length === 0 ? null : el("button", { type: "button", on: { click: defaults } }, t("useDefaults")),
    ),
    elsewhere(what, form),
  );
}

/** @param {Place} place @param {number | null} version */
function calledAs(place, version) {
  return { workflowId: place.id, project: place.project, version };
}

/** @param {unknown} body @returns {Promise<readonly Problem[]>} */
async function checked(body) {
  /** @type {{ problems: Problem[] } | null} */
  const answer = await change("POST", "api/validate", { body });
  return answer?.problems ?? [];
}

/**
 * Show problems at their fields.
 * @param {Startable} what
 * @param {import("../forms/form.js").Form} form
 * @param {readonly Problem[]} problems
 * @returns {Shown[]} What belongs to no field.
 */
function told({ slots, feeds }, form, problems) {
  const keys = slots.map(([key]) => key);
  /** @type {Map<string, Shown>} */
  const complaints = new Map();
  /** @type {Shown[]} */
  const others = [];
  for (const problem of problems) {
    const own = fieldsOf(problem, keys, feeds);
    for (const key of own) {
      const before = complaints.get(key);
      complaints.set(key, verbatim(before === undefined ? problem.message : `${before}\n${problem.message}`));
    }
    if (own.length === 0) others.push(verbatim(problem.message));
  }
  form.show(complaints);
  const labels = slots.filter(([key]) => complaints.has(key)).map(([key, slot]) => labelOf(key, slot));
  return labels.length === 0 ? others : [t("lookAt", { fields: labels.join(", ") }), ...others];
}

/** @param {readonly Shown[]} said */
function problemList(said) {
  if (said.length === 0) return null;
  return el("ul", { class: "error" }, ...said.map((one) => el("li", {}, one)));
}

/**
 * The same call from a shell and from Python.
 * @param {Startable} what
 * @param {import("../forms/form.js").Form} form
 */
function elsewhere({ place, chosen, unkept }, form) {
  const call = computed(() => ({
    ...calledAs(place, chosen),
    url: new URL(".", document.baseURI).href.replace(/\/$/, ""),
    hasToken: token() !== null,
    inputs: form.values.value,
    secrets: unkept,
  }));
  const shown = (/** @type {Shown} */ title, /** @type {() => string} */ text) => [
    el("h2", {}, title),
    textBox(title, () => verbatim(text())),
    el("p", { class: "actions" }, ...copyButton(t("copy"), text)),
  ];
  return el(
    "details",
    {},
    el("summary", {}, t("sameCall")),
    el("p", { class: "quiet" }, t("sameCallHint")),
    ...shown(t("inShell"), () => curlOf(call.value)),
    ...shown(t("inPython"), () => pythonOf(call.value)),
  );
}
