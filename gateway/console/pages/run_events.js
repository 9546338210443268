/** The events of a run as they are, a page at a time. Which page and which type stand in the address. */

import { reasonOf } from "../lib/complaint.js";
import { copyButton } from "../lib/copy.js";
import { exactTime, json, moment, name } from "../lib/format.js";
import { labelled } from "../lib/labelled.js";
import { setFilters, withFilters } from "../lib/router.js";
import { textBox } from "../lib/values.js";
import { computed, each, effect, el, onEnd, signal, untracked, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { EVENT_TYPES, eventPage } from "../run/event_pages.js";

/** @typedef {import("../run/project.js").RunEvent} RunEvent */
/** @typedef {import("../lib/view.js").Shown} Shown */

const PAGE = 100;
/** While a run goes on, what is new is asked for so often. */
const EVERY_MS = 1000;

/**
 * The page of events that the address names. Belongs to the surrounding effect.
 * @param {import("./run.js").Run} run
 */
function followPage({ id, store, filters }) {
  const events = signal(/** @type {readonly RunEvent[]} */ ([]));
  const problem = signal(/** @type {Shown | null} */ (null));
  const isFull = signal(false);
  const isLoaded = signal(false);
  const place = computed(() => JSON.stringify([filters().type ?? "", numberOf(filters().after)]));
  effect(() => {
    const [type, after] = JSON.parse(place.value);
    const abort = new AbortController();
    let next = after;
    let isBusy = false;
    events.value = [];
    problem.value = null;
    isFull.value = false;
    isLoaded.value = false;
    const load = async () => {
      if (isBusy || isFull.peek()) return;
      isBusy = true;
      try {
        const limit = PAGE - events.peek().length;
        const page = await eventPage(id, { after: next, upTo: store.view.lastSeq, type, limit, signal: abort.signal });
        if (abort.signal.aborted) return;
        next = page.next;
        if (page.events.length > 0) events.value = [...events.peek(), ...page.events];
        isFull.value = page.isFull;
        problem.value = null;
      } catch (error) {
        if (!abort.signal.aborted) problem.value = reasonOf(error);
      } finally {
        isBusy = false;
        // Of a page that was left nobody wants to know.
        if (!abort.signal.aborted) isLoaded.value = true;
      }
    };
    const timer = setInterval(() => document.hidden || load(), EVERY_MS);
    effect(() => {
      if (store.isCaughtUp.value) untracked(load);
    });
    onEnd(() => {
      abort.abort();
      clearInterval(timer);
    });
  });
  return { events, problem, isFull, isLoaded };
}

/** @param {import("./run.js").Run} run */
export function eventsView(run) {
  const { store, filters } = run;
  const { events, problem, isFull, isLoaded } = followPage(run);
  return [
    el(
      "section",
      { class: "events", "aria-label": t("viewEvents") },
      el("h2", {}, t("viewEvents")),
      typeFilter(filters),
      () => problem.value === null ? null : el("p", { class: "error", role: "alert" }, problem.value),
      () => store.isCaughtUp.value && store.lastSeq.value === 0 ? el("p", { class: "quiet" }, t("eventsGone")) : null,
      () => isLoaded.value && events.value.length === 0 ? el("p", { class: "quiet" }, t("noEvents")) : null,
      el("ol", { class: "event-list" }, each(() => events.value, ({ seq }) => String(seq), eventItem)),
      () => pager(events.value, filters, isFull.value),
    ),
  ];
}

/** @param {string | undefined} text */
function numberOf(text) {
  const number = Number(text ?? 0);
  return Number.isSafeInteger(number) && number > 0 ? number : 0;
}

/** @param {() => Readonly<Record<string, string>>} filters */
function typeFilter(filters) {
  const chosen = untracked(() => filters().type ?? "");
  const options = EVENT_TYPES.map((type) => el("option", { value: type, selected: type === chosen }, verbatim(type)));
  const select = el("select", { id: "event-type" }, el("option", { value: "" }, t("anyStatus")), ...options);
  select.addEventListener("change", () => setFilters({ type: select.value, after: "" }));
  return el("div", { class: "filters" }, labelled(t("eventType"), select));
}

/**
 * @param {readonly RunEvent[]} events
 * @param {() => Readonly<Record<string, string>>} filters
 * @param {boolean} isFull
 */
function pager(events, filters, isFull) {
  const isFirst = numberOf(filters().after) === 0;
  const last = events.at(-1)?.seq;
  return el(
    "nav",
    { class: "actions", "aria-label": t("eventPages") },
    isFirst ? null : el("a", { href: () => withFilters({ after: "" }) }, t("firstPage")),
    isFull && last !== undefined ? el("a", { href: () => withFilters({ after: String(last) }) }, t("nextPage")) : null,
  );
}

/** @param {import("../lib/view.js").Readable<RunEvent>} item */
function eventItem(item) {
  const event = item.peek();
  const isOpen = signal(false);
  const node = event.payload.nodeId ?? event.payload.sourceNodeId ?? event.payload.interfaceOutputKey;
  const details = el(
    "details",
    { on: { toggle: () => (isOpen.value = details.open) } },
    el(
      "summary",
      {},
      el("span", { class: "quiet" }, verbatim(event.seq)),
      verbatim(" "),
      el("code", {}, verbatim(event.type)),
      verbatim(" "),
      node === undefined ? null : el("bdi", {}, name(String(node))),
      verbatim(" "),
      el(
        "time",
        { class: "quiet", datetime: new Date(event.ts).toISOString(), title: moment(event.ts) },
        exactTime(event.ts),
      ),
    ),
    () => isOpen.value ? raw(event) : null,
  );
  return el("li", { "data-seq": event.seq }, details);
}

/** @param {RunEvent} event */
function raw(event) {
  return [
    textBox(t("rawJson"), json(event)),
    ...copyButton(t("copyJson"), () => json(event)),
  ];
}
