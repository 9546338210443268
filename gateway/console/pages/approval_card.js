/** One thing to decide: what it is, and what became of it. Its form is `approval_answer.js`. */

import { duration, moment, name } from "../lib/format.js";
import { href } from "../lib/router.js";
import { stateBadge } from "../lib/state.js";
import { valueBox } from "../lib/values.js";
import { computed, el, untracked, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { isSameAnswer, keyOf } from "../run/approvals.js";
import { AnswerForm } from "./approval_answer.js";
import { budgetFacts } from "./approval_budget.js";

/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {import("../lib/words.js").Word} Word */
/** @typedef {import("../run/approvals.js").Answer} Answer */
/** @typedef {import("../run/approvals.js").Entry} Entry */
/** @typedef {import("../run/approvals.js").Outcome} Outcome */

/** @type {Record<Exclude<Outcome["kind"], "answered">, Word>} */
const ENDS = { timedOut: "timedOutMeanwhile", closed: "closedMeanwhile", askedAgain: "askedAgain", gone: "runGone" };

/**
 * @param {import("../lib/view.js").Readable<Entry>} entry
 * @param {import("./approvals.js").ApprovalList} list
 * @param {import("../lib/view.js").Readable<number>} now Milliseconds since 1970, each second anew.
 */
export function approvalCard(entry, list, now) {
  const { asked } = entry.peek();
  const isBudget = asked.kind === "budget";
  const outcome = computed(() => entry.value.outcome);
  const form = new AnswerForm(asked, list, outcome);
  const title = t("approvalOf", { node: name(asked.nodeId), workflow: name(asked.workflowName ?? "") || t("unnamed") });
  return el(
    "li",
    { class: "card", "data-key": keyOf(asked), "data-run": asked.promptId },
    el("h2", { tabindex: "-1" }, el("bdi", {}, title), () => outcome.value === null ? stateBadge("waiting") : null),
    el(
      "dl",
      { class: "summary" },
      el("dt", {}, t("run")),
      el("dd", {}, el("a", { href: href(["run", asked.promptId], { node: asked.nodeId }) }, t("toRun"))),
      el("dt", {}, t("askedAt")),
      el("dd", {}, moment(asked.requiredAt)),
      ...(isBudget ? budgetFacts(asked) : []),
      el("dt", {}, t("deadline")),
      el("dd", {}, () => outcome.value === null ? deadlineWords(asked.until, now.value) : deadlineAt(asked.until)),
    ),
    isBudget ? null : valueBox(t("toDecide"), asked.data),
    form.element,
    el(
      "div",
      { role: "status" },
      () => outcome.value === null ? null : outcomeView(outcome.value, list.sent(asked), form),
    ),
  );
}

/**
 * When it closes, and how much time is left.
 * @param {string | null} until
 * @param {number} now
 * @returns {Shown}
 */
export function deadlineWords(until, now) {
  if (until === null) return t("noDeadline");
  const left = Date.parse(until) - now;
  return left > 0
    ? t("deadlineIn", { left: duration(left), at: moment(until) })
    : t("deadlineOver", { at: moment(until) });
}

/** @param {string | null} until */
function deadlineAt(until) {
  return until === null ? t("noDeadline") : moment(until);
}

/**
 * What became of it. What somebody typed and did not send stays below.
 * @param {Outcome} outcome
 * @param {Answer | null} sent
 * @param {AnswerForm} form
 */
function outcomeView(outcome, sent, form) {
  const { answer, at } = outcome;
  const isOurs = isSameAnswer(sent, answer);
  const values = Object.entries(answer?.values ?? {});
  const details = isOurs ? [] : [
    answer?.by ? el("p", {}, t("answeredBy", { name: name(answer.by) })) : null,
    answer?.comment ? el("p", {}, t("comment"), verbatim(": "), el("bdi", {}, verbatim(answer.comment))) : null,
    values.length === 0 ? null : el("h3", {}, t("theirValues")),
    ...values.map(([key, value]) => valueBox(key, value)),
    untracked(() => form.isTouched) ? el("p", { class: "warning" }, t("notSent")) : null,
  ];
  const word = outcome.kind !== "answered" ? ENDS[outcome.kind] : answeredWord(answer, isOurs, form.isBudget);
  const when = at ? verbatim(` (${moment(at)})`) : null;
  return [el("p", { class: "outcome", tabindex: "-1" }, t(word), when), ...details];
}

/**
 * @param {Answer | undefined} answer
 * @param {boolean} isOurs
 * @param {boolean} isBudget
 * @returns {Word}
 */
function answeredWord(answer, isOurs, isBudget) {
  if (answer === undefined) return "answeredMeanwhile";
  if (!isOurs) return answer.approved ? "approvedMeanwhile" : "rejectedMeanwhile";
  if (isBudget) return answer.approved ? "budgetRaised" : "budgetRefused";
  return answer.approved ? "yourApproval" : "yourRejection";
}
