/** Uploads on their way. They go on while other pages are shown. */

import { upload, versionOf } from "../api/files.js";
import { GatewayError } from "../api/rest.js";
import { openDialog } from "../lib/dialog.js";
import { bytes, name } from "../lib/format.js";
import { complaintOf } from "../lib/complaint.js";
import { progressBar } from "../lib/saving.js";
import { each, el, signal } from "../lib/view.js";
import { t } from "../lib/words.js";

/** @typedef {import("../api/files.js").Condition} Condition */
/** @typedef {import("../lib/view.js").Shown} Shown */
/**
 * @typedef {{
 *   id: number, path: string, file: File, sent: import("../lib/view.js").Signal<number>,
 *   problem: import("../lib/view.js").Signal<Shown | null>, abort: AbortController,
 * }} Upload
 */

/** @type {import("../lib/view.js").Signal<readonly Upload[]>} */
const uploads = signal(/** @type {readonly Upload[]} */ ([]));
let last = 0;
let queue = Promise.resolve();

/** How many uploads have ended: whoever shows a folder looks again. */
export const uploadsDone = signal(0);

addEventListener("beforeunload", (event) => {
  if (uploads.peek().some((one) => one.problem.peek() === null)) event.preventDefault();
});

/**
 * Write files into a folder, one after the other. A file that is there is replaced only after a question.
 * @param {string} folder
 * @param {readonly File[]} files
 */
export function uploadAll(folder, files) {
  for (const file of files) {
    const abort = new AbortController();
    const made = { id: ++last, path: folder + file.name, file, sent: signal(0), problem: signal(null), abort };
    uploads.value = [...uploads.peek(), made];
    queue = queue.then(() => carryOut(made));
  }
}

/** @param {Upload} one */
async function carryOut(one) {
  try {
    await send(one);
    forget(one);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") forget(one);
    else one.problem.value = complaintOf(error);
  }
  uploadsDone.value++;
}

/** @param {Upload} one */
async function send(one) {
  /** @type {Condition | null} */
  let condition = { "If-None-Match": "*" };
  while (condition !== null) {
    one.abort.signal.throwIfAborted();
    const options = { progress: (/** @type {number} */ share) => (one.sent.value = share), signal: one.abort.signal };
    try {
      return await upload(one.path, one.file, { condition, ...options });
    } catch (error) {
      if (!(error instanceof GatewayError) || error.status !== 412) throw error;
      condition = await mayReplace(one);
    }
  }
}

/**
 * Only what the question was asked of is replaced: when it changes meanwhile, it is asked again.
 * @param {Upload} one
 * @returns {Promise<Condition | null>}
 */
async function mayReplace(one) {
  const version = await versionOf(one.path).catch((error) => {
    if (error instanceof GatewayError && error.status === 404) return null;
    throw error;
  });
  if (version === null) return { "If-None-Match": "*" }; // gone meanwhile
  /** @type {Condition} */
  const condition = { "If-Match": version };
  const hint = el("p", {}, t("replaceHint", { name: name(one.path), size: bytes(one.file.size) }));
  return await openDialog(t("replaceFile"), [hint], { action: t("replace") }) ? condition : null;
}

/** @param {Upload} one */
function forget(one) {
  uploads.value = uploads.peek().filter((other) => other !== one);
}

export function uploadList() {
  return el("ul", { class: "uploads" }, each(() => uploads.value, (one) => String(one.id), (one) => row(one.peek())));
}

/** @param {Upload} one */
function row(one) {
  const bar = () => progressBar(name(one.file.name), () => one.sent.value);
  const end = () => {
    one.abort.abort();
    if (one.problem.peek() !== null) forget(one);
  };
  return el(
    "li",
    {},
    el("bdi", {}, name(one.path)),
    () => one.problem.value === null ? bar() : el("span", { class: "error", role: "alert" }, one.problem.value),
    el("button", { type: "button", on: { click: end } }, () => one.problem.value === null ? t("cancel") : t("close")),
  );
}
