/** Files that are picked in a form: put into the user's files, or taken as they are. */

import { change, GatewayAway, GatewayError } from "../api/rest.js";
import { bytes } from "../lib/format.js";
import { el, signal, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";

/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {import("./slots.js").Slot} Slot */

const FOLDER = "uploads";
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
 * @returns {Promise<string>} Its logical path.
 */
export async function pickedFile(file) {
  for (let number = 1;; number++) {
    const name = fileName(file.name, number);
    const headers = { "If-None-Match": "*" };
    try {
      await change("PUT", `api/files/user/${FOLDER}/${encodeURIComponent(name)}`, { data: file, headers });
      return `user://${FOLDER}/${name}`;
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
    return Promise.reject(new Error(t("fileTooLarge", { size: bytes(MOST_DATA_BYTES) })));
  }
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
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
 * @param {(file: File) => Promise<void>} take
 */
export function fileInput(slot, label, take) {
  const said = signal(verbatim(""));
  const input = el("input", { type: "file", accept: acceptOf(slot), "aria-label": t("fileFor", { slot: label }) });
  input.addEventListener("change", async () => {
    const file = input.files?.[0];
    if (file === undefined) return;
    said.value = t("takingFile");
    try {
      await take(file);
      said.value = t("fileTaken", { size: bytes(file.size) });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      said.value = t("failed", { message: error instanceof GatewayAway ? t("gatewayAway") : message });
    } finally {
      input.value = ""; // so that the same file can be picked again
    }
  });
  return el("div", { class: "picker" }, input, el("span", { class: "quiet", role: "status" }, said));
}
