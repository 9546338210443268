/** What waits for somebody's answer, over all runs. What ends while somebody looks keeps its place, and what was typed. */

import { now } from "../lib/clock.js";
import { computed, each, effect, el, onEnd, signal, untracked } from "../lib/view.js";
import { t } from "../lib/words.js";
import { askOutcome, ended, keyOf, merged, openApprovals } from "../run/approvals.js";
import { keepFresh, listHint } from "../run/lists.js";
import { openCount } from "../run/open_count.js";
import { approvalCard } from "./approval_card.js";
import { draftOf, forgetDraft } from "./approval_drafts.js";

/** @typedef {import("../run/approvals.js").Answer} Answer */
/** @typedef {import("../run/approvals.js").Approval} Approval */
/** @typedef {import("../run/approvals.js").Entry} Entry */
/** @typedef {import("../run/approvals.js").Outcome} Outcome */

/** Outlives the page: who looks at a run and comes back finds what was typed, and what became of it. */
let list = /** @type {ApprovalList | null} */ (null);

/** @param {import("./page.js").PageContext} context @returns {import("./page.js").Page} */
export function approvalsPage({ socket, filters }) {
  list ??= new ApprovalList();
  list.forget((key) => draftOf(key) === null);
  const made = page(socket, list);
  showAsked(list, made.content, untracked(filters));
  return made;
}

/**
 * Whoever comes from a run sees what that run asks, once it is there.
 * @param {ApprovalList} list
 * @param {Element} content
 * @param {Readonly<Record<string, string>>} filters `run`, and `node`: the path of the one that asks.
 */
function showAsked(list, content, { run = "", node = "" }) {
  if (run === "") return;
  const end = effect(() => {
    const isIt = (/** @type {Entry} */ { asked, outcome }) =>
      outcome === null && asked.promptId === run && (node === "" || asked.nodeId === node);
    const found = list.entries.value?.find(isIt);
    if (found === undefined) return;
    const key = keyOf(found.asked);
    const cards = () => [...content.querySelectorAll(".card")];
    // After this picture: the page takes the focus to its heading first.
    setTimeout(() => {
      end();
      const card = cards().find((one) => one.getAttribute("data-key") === key);
      card?.scrollIntoView({ block: "start" });
      card?.querySelector("h2")?.focus({ preventScroll: true });
    });
  });
}

/**
 * @param {import("../api/socket.js").GatewaySocket} socket
 * @param {ApprovalList} list
 * @returns {import("./page.js").Page}
 */
function page(socket, list) {
  const fresh = keepFresh(socket, () => list.load(), () => {
    openCount.value;
  });
  const moment = signal(now());
  const timer = setInterval(() => (moment.value = now()), 1000);
  onEnd(() => clearInterval(timer));
  const hasEnded = computed(() => (list.entries.value ?? []).some((entry) => entry.outcome !== null));
  const forget = el("button", { type: "button", on: { click: () => list.forget(() => true) } }, t("removeDecided"));
  const content = el(
    "div",
    { class: "page" },
    el("h1", { tabindex: "-1" }, t("approvals")),
    el(
      "ul",
      { class: "cards" },
      each(() => list.entries.value ?? [], (entry) => keyOf(entry.asked), (entry) => approvalCard(entry, list, moment)),
    ),
    listHint(fresh, () => list.entries.value, t("noApprovals")),
    // Below: what appears above the list would move it under the mouse.
    () => hasEnded.value ? el("div", { class: "actions" }, forget) : null,
  );
  return { title: () => t("approvals"), content };
}

/** The approvals that are shown. */
export class ApprovalList {
  entries = signal(/** @type {readonly Entry[] | null} */ (null));
  /** Keys of those that are being answered here: what becomes of them, the answer says. @type {Set<string>} */
  #answering = new Set();
  /** The last answers that were sent, by key: they may count, though nobody said so. @type {Map<string, Answer>} */
  #sent = new Map();

  async load() {
    const askedAt = Date.now();
    const open = await openApprovals();
    const { entries, missing } = merged(this.entries.peek() ?? [], open, askedAt);
    this.entries.value = entries;
    await Promise.all(missing.map((asked) => this.look(asked)));
  }

  /**
   * Ask what became of one that is no longer open.
   * @param {Approval} asked
   */
  async look(asked) {
    if (this.#answering.has(keyOf(asked))) return;
    const outcome = await askOutcome(asked);
    if (outcome !== null && !this.#answering.has(keyOf(asked))) this.end(asked, outcome);
  }

  /**
   * @param {Approval} asked
   * @param {Outcome} outcome
   */
  end(asked, outcome) {
    keepingPlace(keyOf(asked), () => {
      this.entries.value = ended(this.entries.peek() ?? [], keyOf(asked), outcome, Date.now());
    });
  }

  /** @param {Approval} asked */
  sent(asked) {
    return this.#sent.get(sentKey(asked)) ?? null;
  }

  /** @param {Approval} asked @param {Answer} answer */
  keepSent(asked, answer) {
    this.#sent.set(sentKey(asked), answer);
  }

  /**
   * Answer one; meanwhile its end is not looked for.
   * @param {Approval} asked
   * @param {() => Promise<void>} answer
   */
  async whileAnswering(asked, answer) {
    this.#answering.add(keyOf(asked));
    try {
      await answer();
    } finally {
      this.#answering.delete(keyOf(asked));
    }
  }

  /**
   * Take those from the list that have ended.
   * @param {(key: string) => boolean} isForgotten
   */
  forget(isForgotten) {
    const stays = (/** @type {Entry} */ { asked, outcome }) => outcome === null || !isForgotten(keyOf(asked));
    const entries = this.entries.peek() ?? [];
    for (const { asked } of entries.filter((entry) => !stays(entry))) forgetDraft(keyOf(asked));
    this.entries.value = entries.length === 0 ? this.entries.peek() : entries.filter(stays);
  }
}

/**
 * A new limit is an answer to every node of the run that waits for the same budget.
 * @param {Approval} asked
 */
function sentKey(asked) {
  return asked.kind === "budget" ? JSON.stringify([asked.promptId, asked.scope]) : keyOf(asked);
}

/**
 * What ends takes at least as much room as before, and what somebody is about to press stays where it is: else the click
 * would answer something else. Where the button goes that had the focus, the focus goes to what became of it.
 * @param {string} key
 * @param {() => void} change
 */
function keepingPlace(key, change) {
  const card = [...document.querySelectorAll(".card")].find((one) => one.getAttribute("data-key") === key);
  const pressed = document.querySelector(".card:hover") ?? document.activeElement?.closest(".card");
  const before = pressed?.getBoundingClientRect().top ?? 0;
  const hadFocus = card?.contains(document.activeElement);
  if (card instanceof HTMLElement) card.style.setProperty("min-block-size", `${card.offsetHeight}px`);
  change();
  scrollBy(0, (pressed?.getBoundingClientRect().top ?? 0) - before);
  const now = document.activeElement;
  if (!hadFocus || (now !== document.body && now?.checkVisibility())) return;
  /** @type {HTMLElement | null} */ (card?.querySelector(".outcome"))?.focus({ preventScroll: true });
}
