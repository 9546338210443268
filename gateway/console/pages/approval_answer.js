/** The answer to one approval: fields, comment, buttons. What is typed is kept until it was sent or is removed. */

import { GatewayAway, GatewayError, getJson, postOnce, randomKey } from "../api/rest.js";
import { makeForm } from "../forms/form.js";
import { alertPlace, complaintOf } from "../lib/complaint.js";
import { isReference } from "../lib/values.js";
import { effect, el, signal, untracked, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { fieldComplaint, isSameAnswer, keyOf, presentValues } from "../run/approvals.js";
import { leastWords } from "./approval_budget.js";
import { draftOf, forgetDraft, keepDraft } from "./approval_drafts.js";

/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {import("../forms/form.js").Form} Form */
/** @typedef {import("../run/approvals.js").Approval} Approval */
/** @typedef {import("../run/approvals.js").Answer} Answer */
/** @typedef {import("../run/approvals.js").Outcome} Outcome */

/** Larger data is not filled into the fields. */
const FILLED_BYTES = 1_000_000;
/** With these the gateway says that something else happened first. */
const OVER = new Set([
  "approval_answered",
  "approval_closed",
  "approval_not_found",
  "run_not_active",
  "run_not_found",
]);
let forms = 0;

export class AnswerForm {
  element;
  #asked;
  #list;
  #outcome;
  /** Null until the data is there. */
  #form = signal(/** @type {Form | null} */ (null));
  #comment;
  #complaint = signal(/** @type {Shown | null} */ (null));
  #isBusy = signal(false);
  /** The same answer sent again is one. */
  #lastSent = { body: "", key: "" };

  /**
   * @param {Approval} asked
   * @param {import("./approvals.js").ApprovalList} list
   * @param {import("../lib/view.js").Readable<Outcome | null>} outcome
   */
  constructor(asked, list, outcome) {
    this.#asked = asked;
    this.#list = list;
    this.#outcome = outcome;
    this.#comment = el("textarea", { id: `comment-${++forms}`, rows: "2", maxlength: "10000" });
    this.#comment.value = draftOf(keyOf(asked))?.comment ?? "";
    this.#comment.addEventListener("input", () => this.#keep());
    this.element = el("div", { class: "stack", hidden: () => this.#isHidden() }, ...this.#parts());
    this.#begin();
  }

  get isBudget() {
    return this.#asked.kind === "budget";
  }

  /** Was something typed? */
  get isTouched() {
    return (this.#form.value?.values.value.size ?? 0) > 0 || this.#comment.value !== "";
  }

  /** After the end only what was typed in vain is of use. */
  #isHidden() {
    const outcome = this.#outcome.value;
    return outcome !== null && (!this.isTouched || isSameAnswer(this.#list.sent(this.#asked), outcome.answer));
  }

  #parts() {
    const button = (/** @type {Shown} */ word, /** @type {boolean} */ approved) =>
      el(
        "button",
        {
          type: "button",
          class: approved ? "primary" : "",
          disabled: () => this.#isBusy.value || this.#form.value === null,
          on: { click: () => this.#answer(approved) },
        },
        word,
      );
    const buttons = () =>
      this.#outcome.value !== null ? null : el(
        "div",
        { class: "actions" },
        button(t(this.isBudget ? "raiseBudget" : "approve"), true),
        button(t(this.isBudget ? "refuseBudget" : "reject"), false),
        () => this.#isBusy.value ? el("span", { class: "quiet" }, t("answering")) : null,
      );
    return [
      this.isBudget ? this.#budgetHint() : null,
      () => this.#form.value?.element ?? el("p", {}, t("loading")),
      el("label", { for: this.#comment.id }, t("comment")),
      this.#comment,
      alertPlace(() => this.#complaint.value),
      buttons,
    ];
  }

  #budgetHint() {
    const least = leastWords(this.#asked);
    return el(
      "p",
      { class: "quiet" },
      least === null ? null : t("newLimitHint", { least }),
      verbatim(" "),
      t("refuseBudgetHint"),
    );
  }

  async #begin() {
    const { form, data } = this.#asked;
    if (isReference(data) && form.length > 0) this.#makeForm(await this.#wholeData(data));
    else this.#makeForm(data);
  }

  /** @param {unknown} data */
  #makeForm(data) {
    const { form } = this.#asked;
    const slots = form.map((slot) => /** @type {const} */ ([slot.key, slot]));
    const draft = draftOf(keyOf(this.#asked));
    const made = makeForm(slots, { base: presentValues(form, data), typed: new Map(draft?.values ?? []) });
    this.#form.value = made;
    effect(() => {
      made.values.value;
      untracked(() => this.#keep());
    });
  }

  /** @param {import("../lib/values.js").Reference} reference */
  async #wholeData({ size, url, mime }) {
    const isSmall = size <= FILLED_BYTES && url !== undefined && mime === "application/json";
    try {
      if (isSmall) return await getJson(url.replace(/^\//, ""));
    } catch (error) {
      if (!(error instanceof GatewayAway || error instanceof GatewayError)) throw error;
    }
    this.#complaint.value = t("dataTooLarge");
    return undefined;
  }

  /** @param {boolean} approved */
  async #answer(approved) {
    if (this.#isBusy.peek() || this.#form.peek() === null) return;
    const values = this.#read(approved);
    if (values === null) {
      this.#complaint.value = t("checkFields");
      return;
    }
    const comment = this.#comment.value.trim();
    /** @type {Answer} */
    const answer = {
      approved,
      ...(values.size === 0 ? {} : { values: Object.fromEntries(values) }),
      ...(comment === "" ? {} : { comment }),
    };
    let isOver = false;
    await this.#list.whileAnswering(this.#asked, async () => {
      isOver = await this.#send(answer);
    });
    if (!isOver) return;
    await this.#list.look(this.#asked);
    // What became of it says more than the refusal.
    if (this.#outcome.peek() !== null) this.#complaint.value = null;
  }

  /**
   * @param {boolean} approved A no needs no values.
   * @returns {ReadonlyMap<string, unknown> | null} Null: something is wrong, and stands at its field.
   */
  #read(approved) {
    const form = this.#form.peek();
    if (!approved || form === null) return new Map();
    const values = form.read();
    if (!this.isBudget || values === null || values.size > 0) return values;
    form.show(new Map(this.#asked.form.map(({ key }) => [key, t("needsValue")])));
    return null;
  }

  /**
   * @param {Answer} answer
   * @returns {Promise<boolean>} Does it not count because something else happened first?
   */
  async #send(answer) {
    const { promptId, approvalId } = this.#asked;
    const path = `api/prompt/${encodeURIComponent(promptId)}/approvals/${encodeURIComponent(approvalId)}`;
    this.#isBusy.value = true;
    this.#complaint.value = null;
    this.#list.keepSent(this.#asked, answer);
    try {
      /** @type {{ answer: Answer } | null} */
      const counted = await postOnce(path, answer, this.#keyFor(answer));
      forgetDraft(keyOf(this.#asked));
      this.#list.end(this.#asked, { kind: "answered", answer: counted?.answer ?? answer });
      return false;
    } catch (error) {
      return this.#failed(error);
    } finally {
      this.#isBusy.value = false;
    }
  }

  /**
   * A key of its own for each answer: the same one, sent again because nobody said whether it counts, counts once.
   * @param {Answer} answer
   */
  #keyFor(answer) {
    const body = JSON.stringify(answer);
    if (this.#lastSent.body !== body) this.#lastSent = { body, key: randomKey() };
    return this.#lastSent.key;
  }

  /** @param {unknown} error */
  #failed(error) {
    if (!(error instanceof GatewayError)) {
      this.#complaint.value = error instanceof GatewayAway ? t("answerUnknown") : complaintOf(error);
      return false;
    }
    this.#complaint.value = complaintOf(error);
    const field = fieldComplaint(error.message, this.#asked.form);
    if (field !== null) this.#form.peek()?.show(new Map([[field.key, verbatim(field.complaint)]]));
    return OVER.has(error.code);
  }

  #keep() {
    const values = this.#form.peek()?.values.peek() ?? new Map();
    keepDraft(keyOf(this.#asked), { values: [...values], comment: this.#comment.value });
  }
}
