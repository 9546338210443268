/** Is all well? What the gateway says of itself, channels of models, what is stored; and what only commands do. */

import { GatewayError, getJson } from "../api/rest.js";
import { factList } from "../lib/facts.js";
import { name, number } from "../lib/format.js";
import { loadingHint } from "../lib/loading.js";
import { badge } from "../lib/state.js";
import { el, signal, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { keepFresh, update } from "../run/lists.js";
import { channelList } from "./channels.js";
import { storage } from "./storage.js";

/** @typedef {import("../lib/words.js").Word} Word */
/** @typedef {{ ready: boolean, checks: Record<string, string>, workers: number }} Readiness */
/**
 * @typedef {{
 *   version: string, maxConcurrentWorkflows: number | null, runningExecutions: number, pendingExecutions: number,
 * }} Queue
 */

/** @type {ReadonlyMap<string, Word>} */
const CHECKS = new Map([
  ["log", "eventLog"],
  ["temporal", "temporalServer"],
  ["workers", "workers"],
]);

/** What no page can do, with the command that does. @type {readonly [string, Word][]} */
const COMMANDS = [
  ["innkeeper status", "commandStatus"],
  ["innkeeper logs -f", "commandLogs"],
  ["innkeeper channels --check", "commandChannels"],
  ["innkeeper channels add NAME URL --key", "commandAddChannel"],
  ["innkeeper settings", "commandSettings"],
  ["innkeeper worker", "commandWorker"],
  ["innkeeper backup FILE", "commandBackup"],
  ["innkeeper restore FILE", "commandRestore"],
  ["innkeeper rotate-key", "commandRotateKey"],
];

/** @param {import("./page.js").PageContext} context @returns {import("./page.js").Page} */
export function systemPage({ socket }) {
  const readiness = signal(/** @type {Readiness | null} */ (null));
  const queue = signal(/** @type {Queue | null} */ (null));
  const fresh = keepFresh(socket, async () => {
    const [found, counts] = await Promise.all([getReadiness(), getQueue()]);
    update(readiness, found);
    update(queue, counts);
  });
  const content = el(
    "div",
    { class: "page" },
    el("h1", { tabindex: "-1" }, t("system"), el("span", { role: "status" }, () => readyBadge(readiness.value))),
    loadingHint({ value: readiness, problem: fresh.problem }),
    el(
      "div",
      { class: "columns" },
      () => readiness.value === null ? null : checks(readiness.value),
      () => queue.value === null ? null : facts(queue.value),
    ),
    channelList(socket),
    storage(),
    commands(),
  );
  return { title: () => t("system"), content };
}

/** A gateway that is not ready says why, with the status 503. @returns {Promise<Readiness>} */
async function getReadiness() {
  try {
    return await getJson("readyz");
  } catch (error) {
    if (error instanceof GatewayError && "checks" in error.body) return /** @type {Readiness} */ (error.body);
    throw error;
  }
}

/** @returns {Promise<Queue>} */
function getQueue() {
  return getJson("api/system_stats");
}

/** @param {Readiness | null} readiness */
function readyBadge(readiness) {
  if (readiness === null) return null;
  return readiness.ready ? badge("complete", t("ready")) : badge("error", t("notReady"));
}

/** @param {Readiness} readiness */
function checks({ checks, workers }) {
  const rows = Object.entries(checks).map(([key, told]) => {
    const word = CHECKS.get(key);
    const isWell = told === "ok";
    return el(
      "li",
      { "data-check": key },
      badge(isWell ? "complete" : "error", isWell ? t("well") : t("notWell")),
      el("span", {}, word === undefined ? verbatim(key) : t(word)),
      isWell ? null : el("span", { class: "error" }, verbatim(told)),
      key === "workers" ? el("span", { class: "quiet" }, t("workerCount", { n: workers })) : null,
    );
  });
  return el(
    "section",
    { "aria-label": t("checks") },
    el("h2", {}, t("checks")),
    el("ul", { class: "checks" }, ...rows),
  );
}

/** @param {Queue} queue */
function facts({ version, maxConcurrentWorkflows: most, runningExecutions, pendingExecutions }) {
  const list = factList([
    [t("runsOpen"), number(runningExecutions)],
    [t("runsQueued"), number(pendingExecutions)],
    [t("mostRuns"), most === null ? t("noLimit") : number(most)],
    [t("version"), name(version)],
  ]);
  return el("section", { "aria-label": t("load") }, el("h2", {}, t("load")), list);
}

function commands() {
  const rows = COMMANDS.map(([command, word]) =>
    el("li", {}, el("code", {}, verbatim(command)), el("span", {}, t(word)))
  );
  return el(
    "section",
    { "aria-label": t("onlyCommands") },
    el("h2", {}, t("onlyCommands")),
    el("p", { class: "quiet" }, t("onlyCommandsHint")),
    el("ul", { class: "commands" }, ...rows),
  );
}
