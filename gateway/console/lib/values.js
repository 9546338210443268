/** Values of slots: texts, JSON, streams, and references to values that are stored apart. */

import { getBlob, getText } from "../api/rest.js";
import { bytes, json, name } from "./format.js";
import { el, onEnd, signal, verbatim } from "./view.js";
import { t } from "./words.js";

/** @typedef {import("./view.js").Readable<string>} ReadableText */
/** @typedef {{ $blob: string, size: number, mime: string, preview?: string, url?: string }} Reference */

/** So large a text is fetched without being asked for. */
const FETCHED_BYTES = 1_000_000;
const TEXT = /^(application\/json|text\/)/;
/** What a browser draws without running anything in it: no SVG. */
const PICTURE = /^image\/(png|jpeg|gif|webp)$/;

/**
 * @param {unknown} value
 * @returns {value is Reference}
 */
export function isReference(value) {
  return typeof value === "object" && value !== null && "$blob" in value && "size" in value;
}

/**
 * What stands for an output that was streamed.
 * @param {unknown} value
 */
export function isPlaceholder(value) {
  return typeof value === "object" && value !== null && "type" in value && value.type === "stream_placeholder";
}

/**
 * What a stream slot collected: its text instead of the whole.
 * @param {unknown} value
 */
export function withoutStream(value) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const { text, chunks, ...others } = /** @type {Record<string, unknown>} */ (value);
  const isStream = text !== undefined && chunks !== undefined && Object.keys(others).every((key) => key === "items");
  return isStream ? text : value;
}

/**
 * A text as it is, which the keyboard can scroll.
 * @param {import("./view.js").Shown} label
 * @param {import("./view.js").Child} text
 */
export function textBox(label, text) {
  return el("pre", { class: "text", role: "group", tabindex: "0", "aria-label": label }, text);
}

/**
 * A text that grows: only what is new is added, so a long one does not get slower.
 * @param {() => { text: string, epoch: number }} stream
 * @param {import("./view.js").Shown} label
 * @param {(run: () => void) => void} follow
 */
export function growingText(stream, label, follow) {
  const content = document.createTextNode("");
  const box = textBox(label, content);
  let epoch = -1;
  follow(() => {
    const now = stream();
    const isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 8;
    if (now.epoch === epoch) content.appendData(now.text.slice(content.length));
    else content.data = now.text;
    epoch = now.epoch;
    if (isAtEnd) box.scrollTop = box.scrollHeight;
  });
  return box;
}

/**
 * @param {string} slot
 * @param {unknown} given
 */
export function valueBox(slot, given) {
  const value = withoutStream(given);
  const label = t("valueOf", { slot: name(slot) });
  const content = isReference(value) ? referenceBox(value, label) : textBox(label, json(value));
  return el("div", { class: "value" }, el("h3", {}, el("bdi", {}, name(slot))), content);
}

/**
 * @param {Reference} reference
 * @param {import("./view.js").Shown} label
 */
function referenceBox(reference, label) {
  const text = signal(reference.preview ?? "");
  const isWhole = signal(false);
  const fetchWhole = async () => {
    try {
      text.value = await getText((reference.url ?? "").replace(/^\//, ""));
      isWhole.value = true;
    } catch (error) {
      text.value = t("failed", { message: String(error) });
    }
  };
  if (!TEXT.test(reference.mime)) return fileBox(reference, label);
  if (reference.size <= FETCHED_BYTES && reference.url !== undefined) fetchWhole();
  const button = el(
    "button",
    { type: "button", on: { click: fetchWhole } },
    t("wholeValue", { size: bytes(reference.size) }),
  );
  return el(
    "div",
    {},
    textBox(label, () => verbatim(text.value)),
    () => isWhole.value ? null : button,
  );
}

/**
 * A value that is no text: a picture is shown, anything else can be saved. Both are fetched, because an address cannot
 * show the token.
 * @param {Reference} reference
 * @param {import("./view.js").Shown} label
 */
function fileBox({ url, mime, size }, label) {
  const picture = signal("");
  const complaint = signal(verbatim(""));
  const fetched = async () => URL.createObjectURL(await getBlob((url ?? "").replace(/^\//, "")));
  const trying = (/** @type {() => Promise<void>} */ act) => async () => {
    try {
      await act();
    } catch (error) {
      complaint.value = t("failed", { message: String(error) });
    }
  };
  const show = trying(async () => void (picture.value = await fetched()));
  const save = trying(async () => {
    const address = await fetched();
    el("a", { href: address, download: (url ?? "").split("/").at(-1) ?? "" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000); // the browser has begun to save by then
  });
  onEnd(() => URL.revokeObjectURL(picture.peek()));
  const isPicture = PICTURE.test(mime);
  if (isPicture && size <= FETCHED_BYTES && url !== undefined) show();
  const button = (/** @type {import("./words.js").Word} */ word, /** @type {() => void} */ click) =>
    el("button", { type: "button", on: { click } }, t(word, { size: bytes(size) }));
  return el(
    "div",
    {},
    el("p", { class: "quiet" }, verbatim(mime)),
    () => picture.value === "" ? null : el("img", { class: "picture", src: picture.value, alt: label }),
    el(
      "p",
      { class: "actions" },
      isPicture && size > FETCHED_BYTES ? button("showPicture", show) : null,
      button("save", save),
    ),
    el("p", { class: "error", role: "alert" }, complaint),
  );
}
