/** What starts runs by itself: each trigger with its state, what became of its deliveries, and a way to try it. */

import { change, getJson } from "../api/rest.js";
import { openDialog } from "../lib/dialog.js";
import { factList } from "../lib/facts.js";
import { duration, name } from "../lib/format.js";
import { alertPlace, complaintOf } from "../lib/complaint.js";
import { href } from "../lib/router.js";
import { badge } from "../lib/state.js";
import { computed, each, el, signal, untracked, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { keepFresh, listHint, update } from "../run/lists.js";
import { nextTimes, results, tryOut } from "./trigger_details.js";

/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {import("../lib/words.js").Word} Word */
/** @typedef {import("../api/socket.js").GatewaySocket} GatewaySocket */
/**
 * @typedef {{
 *   id: string, name: string, kind: string, enabled: boolean, version: number, secretCount: number,
 *   workflow: { id: string, project?: string, version?: number, published?: boolean },
 *   mapping?: Record<string, { expression?: string, literal?: unknown, body?: true }>, filter?: string,
 *   webhook?: { scheme: string }, event?: { name: string, source?: string }, file?: { folder: string, glob?: string },
 *   schedule?: {
 *     cron?: string, interval?: { everySeconds?: number }, calendar?: unknown[], timezone?: string, note?: string,
 *   },
 *   run?: { statuses?: string[], workflow?: { id: string } },
 * }} Trigger
 */
/** @typedef {import("../lib/view.js").Readable<Trigger>} LiveTrigger */

/** @type {ReadonlyMap<string, Word>} */
const KINDS = new Map([
  ["webhook", "kindWebhook"],
  ["schedule", "kindSchedule"],
  ["event", "kindEvent"],
  ["file", "kindFile"],
  ["run", "kindRun"],
]);

/**
 * What starts runs, in a few words, whatever a newer gateway tells.
 * @param {Trigger} trigger
 * @returns {Shown}
 */
export function startsWhen({ kind, webhook, schedule, event, file, run }) {
  if (kind === "webhook") return t("startsByWebhook", { scheme: webhook?.scheme ?? "" });
  if (kind === "schedule") return scheduleWords(schedule ?? {});
  if (kind === "event") return t("startsByEvent", { event: name(event?.name ?? "") });
  if (kind === "file") {
    return t("startsByFile", { files: name(`${(file?.folder ?? "").replace(/\/$/, "")}/${file?.glob ?? "*"}`) });
  }
  if (kind !== "run") return verbatim("");
  const statuses = (run?.statuses ?? []).join(", ");
  if (run?.workflow === undefined) return t("startsByAnyRun", { statuses });
  return t("startsByRun", { statuses, workflow: name(run.workflow.id) });
}

/** @param {NonNullable<Trigger["schedule"]>} schedule */
function scheduleWords({ cron, interval, timezone = "UTC" }) {
  if (cron !== undefined) return t("startsByCron", { cron, timezone });
  if (interval !== undefined) return t("startsByInterval", { time: duration((interval.everySeconds ?? 0) * 1000) });
  return t("startsByCalendar", { timezone });
}

/** @param {import("./page.js").PageContext} context @returns {import("./page.js").Page} */
export function triggersPage({ socket, filters }) {
  const triggers = signal(/** @type {Trigger[] | null} */ (null));
  const changes = signal(0);
  const load = async () => update(triggers, await getJson("api/triggers"));
  const fresh = keepFresh(socket, load, () => {
    changes.value;
  });
  const asked = untracked(filters).trigger ?? "";
  const item = (/** @type {LiveTrigger} */ trigger) => {
    const made = triggerItem(trigger, socket, () => changes.value++);
    // Whoever comes from one of its runs sees it, after this picture: the page takes the focus to its heading first.
    if (trigger.peek().id === asked) setTimeout(() => lookAt(made));
    return made;
  };
  const content = el(
    "div",
    { class: "page" },
    el("h1", { tabindex: "-1" }, t("triggers")),
    el("ul", { class: "cards" }, each(() => triggers.value ?? [], (trigger) => trigger.id, item)),
    listHint(fresh, () => triggers.value, t("noTriggers")),
  );
  return { title: () => t("triggers"), content };
}

/** @param {Element} card */
function lookAt(card) {
  card.scrollIntoView({ block: "start" });
  card.querySelector("h2")?.focus({ preventScroll: true });
}

/**
 * @param {LiveTrigger} trigger
 * @param {GatewaySocket} socket
 * @param {() => void} changed Something was: the list is to be asked for again.
 */
function triggerItem(trigger, socket, changed) {
  const isEnabled = computed(() => trigger.value.enabled);
  const title = computed(() => name(trigger.value.name));
  const { kind, id } = trigger.peek();
  return el(
    "li",
    { class: "card", "data-trigger": id },
    el("h2", { tabindex: "-1" }, el("bdi", {}, title), () => onOff(isEnabled.value)),
    () => facts(trigger.value),
    () => trigger.value.schedule?.note ? el("p", { class: "warning" }, verbatim(trigger.value.schedule.note)) : null,
    buttons(trigger, changed),
    details(t("results"), () => results(id, socket)),
    kind === "schedule" ? details(t("nextTimes"), () => nextTimes(id, socket)) : null,
    // What was typed stays when it is closed.
    el("details", {}, el("summary", {}, t("tryTrigger")), tryOut(id, kind)),
  );
}

/** @param {boolean} isOn */
function onOff(isOn) {
  return isOn ? badge("complete", t("on")) : badge("paused", t("off"));
}

/** @param {Trigger} trigger */
function facts(trigger) {
  const { kind, workflow, mapping = {}, filter, secretCount } = trigger;
  const kindWord = KINDS.get(kind);
  const version = workflow.version === undefined ? null : t("versionNumber", { n: workflow.version });
  const place = href(["workflows", workflow.id], { project: workflow.project ?? "" });
  const link = el("a", { href: place }, el("bdi", {}, name(workflow.id)));
  /** @type {[Shown, import("../lib/view.js").Plain[] | null][]} */
  const rows = [
    [t("triggerKind"), [kindWord === undefined ? name(kind) : t(kindWord)]],
    [t("startsWhen"), [el("bdi", {}, startsWhen(trigger)), ...folderLink(trigger)]],
    [t("workflow"), [link, version === null ? null : verbatim(" "), version]],
    [t("filter"), filter ? [code(filter)] : null],
  ];
  if (kind === "webhook") rows.push([t("secrets"), [t("secretCount", { n: secretCount })]]);
  const sources = Object.entries(mapping).map(([input, source]) =>
    el("li", {}, el("bdi", {}, name(input)), verbatim(" ← "), sourceWords(source))
  );
  if (sources.length > 0) rows.push([t("mapping"), [el("ul", { class: "plain" }, ...sources)]]);
  return factList(rows);
}

/** The way to the files that a trigger looks at. @param {Trigger} trigger */
function folderLink({ file }) {
  if (file === undefined) return [];
  return [verbatim(" "), el("a", { href: href(["files"], { in: file.folder }) }, t("openFolder"))];
}

/** @param {string} text */
function code(text) {
  return el("code", {}, verbatim(text));
}

/** @param {{ expression?: string, literal?: unknown, body?: true }} source */
function sourceWords({ expression, literal, body }) {
  if (expression !== undefined) return code(expression);
  return body ? t("wholeOfIt") : code(JSON.stringify(literal) ?? "");
}

/**
 * Drawn when somebody opens it, and anew each time.
 * @param {Shown} title
 * @param {() => Element} make
 */
function details(title, make) {
  const isOpen = signal(false);
  const element = el(
    "details",
    { on: { toggle: () => (isOpen.value = element.open) } },
    el("summary", {}, title),
    () => isOpen.value ? untracked(make) : null,
  );
  return element;
}

/**
 * @param {LiveTrigger} trigger
 * @param {() => void} changed
 */
function buttons(trigger, changed) {
  const complaint = signal(/** @type {Shown | null} */ (null));
  const isBusy = signal(false);
  const id = encodeURIComponent(trigger.peek().id);
  const ask = async (/** @type {() => Promise<unknown>} */ request) => {
    isBusy.value = true;
    try {
      await request();
      complaint.value = null;
    } catch (error) {
      complaint.value = complaintOf(error);
    } finally {
      isBusy.value = false;
      changed();
    }
  };
  const disable = async () => {
    const note = el("input", { id: "note", maxlength: "1000" });
    const isSchedule = trigger.peek().kind === "schedule";
    const field = isSchedule ? [el("label", { for: "note" }, t("disableNote")), note] : [];
    if (!await openDialog(t("disableTrigger"), [el("p", {}, t("disableHint")), ...field], { action: t("disable") })) {
      return;
    }
    await ask(() => change("POST", `api/triggers/${id}/disable`, { body: { note: note.value } }));
  };
  const remove = async () => {
    const { name: own, version } = trigger.peek();
    const hint = el("p", {}, t("deleteTriggerHint", { name: name(own) }));
    if (!await openDialog(t("deleteTrigger"), [hint], { action: t("delete") })) return;
    // What somebody else has changed meanwhile is not deleted unseen.
    await ask(() => change("DELETE", `api/triggers/${id}`, { headers: { "If-Match": `"${version}"` } }));
  };
  const button = (/** @type {Shown} */ word, /** @type {() => void} */ click) =>
    el("button", { type: "button", disabled: () => isBusy.value, on: { click } }, word);
  const enable = () => ask(() => change("POST", `api/triggers/${id}/enable`));
  return el(
    "div",
    { class: "actions" },
    () => trigger.value.enabled ? button(t("disable"), disable) : button(t("enable"), enable),
    button(t("delete"), remove),
    alertPlace(() => complaint.value),
  );
}
