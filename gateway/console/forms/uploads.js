/** Files that are picked in a form: put into the user's files, or taken as they are. */

import { upload } from "../api/files.js";
import { GatewayError } from "../api/rest.js";
import { complaintOf } from "../lib/complaint.js";
import { bytes, name } from "../lib/format.js";
import { computed, el, onEnd, signal, verbatim } from "../lib/view.js";
import { progressBar } from "../lib/saving.js";
import { t } from "../lib/words.js";

/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {import("./slots.js").Slot} Slot */
/** Of an upload; `progress` gets the share that was sent, from 0 to 1. @typedef {{ progress: (share: number) => void, signal: AbortSignal }} Sending */

/** A file that this page cannot take; the message is for readers. */
class FileRefused extends Error {}

const FOLDER = "user://uploads/";
/** A submission takes 16 MB, and a data URI is a third longer than its file. */
const MOST_DATA_BYTES = 8_000_000;
const MOST_NAMES = 100;

/**
 * A name that the gateway takes: without folders, signs that cannot be seen, and a dot at its beginning.
 * @param {string} name
 * @param {number} [number] From 2 on it is part of the name, before the ending.
 */
export function fileName(name, number = 1) {
  // deno-lint-ignore no-control-regex
  const clean = name.replace(/[\u0000-\u001f\u007f/\\]/g, "_").replace(/^\.+/, "") || "file";
  if (number === 1) return clean;
  const dot = clean.lastIndexOf(".");
  const [stem, ending] = dot > 0 ? [clean.slice(0, dot), clean.slice(dot)] : [clean, ""];
  return `${stem}-${number}${ending}`;
}

/**
 * Put a file beside what is there already.
 * @param {File} file
 * @param {Sending} sending
 * @returns {Promise<string>} Its logical path.
 */
export async function pickedFile(file, sending) {
  for (let number = 1;; number++) {
    const path = FOLDER + fileName(file.name, number);
    try {
      await upload(path, file, { condition: { "If-None-Match": "*" }, ...sending });
      return path;
    } catch (error) {
      const isTaken = error instanceof GatewayError && error.code === "file_exists";
      if (!isTaken || number >= MOST_NAMES) throw error;
    }
  }
}

/**
 * A file as a data URI.
 * @param {File} file
 * @returns {Promise<string>}
 */
export function pickedData(file) {
  if (file.size > MOST_DATA_BYTES) {
    return Promise.reject(new FileRefused(t("fileTooLarge", { size: bytes(MOST_DATA_BYTES) })));
  }
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(new FileRefused(t("failed", { message: String(reader.error?.message) })));
    reader.readAsDataURL(file);
  });
}

/**
 * The endings and types that a slot takes, for the browser's own dialog; null takes all.
 * @param {Slot} slot
 */
export function acceptOf(slot) {
  const types = slot.config?.acceptedTypes;
  if (Array.isArray(types) && types.length > 0) {
    return types.map((one) => `.${String(one?.value ?? one).replace(/^\./, "")}`).join(",");
  }
  const media = ["Image", "Audio", "Video"].filter((one) => slot.matchCategories?.includes(`${one}Data`));
  return media.length === 0 ? null : media.map((one) => `${one.toLowerCase()}/*`).join(",");
}

/**
 * @param {Slot} slot
 * @param {Shown} label
 * @param {(file: File, sending: Sending) => Promise<void>} take
 */
export function fileInput(slot, label, take) {
  const said = signal(verbatim(""));
  const share = signal(/** @type {number | null} */ (null));
  const leaving = new AbortController();
  onEnd(() => leaving.abort());
  const input = el("input", { type: "file", accept: acceptOf(slot), "aria-label": t("fileFor", { slot: label }) });
  input.addEventListener("change", async () => {
    const file = input.files?.[0];
    if (file === undefined) return;
    said.value = t("takingFile");
    try {
      await take(file, { progress: (sent) => (share.value = sent), signal: leaving.signal });
      said.value = t("fileTaken", { size: bytes(file.size) });
    } catch (error) {
      if (leaving.signal.aborted) return;
      said.value = error instanceof FileRefused ? verbatim(error.message) : complaintOf(error);
    } finally {
      share.value = null;
      input.value = ""; // so that the same file can be picked again
    }
  });
  const isSending = computed(() => share.value !== null);
  return el(
    "div",
    { class: "picker" },
    input,
    () => isSending.value ? progressBar(name(input.files?.[0]?.name ?? ""), () => share.value ?? 0) : null,
    el("span", { class: "quiet", role: "status" }, said),
  );
}
