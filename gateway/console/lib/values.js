/** Values of slots: texts, JSON, streams, and references to values that are stored apart. */

import { getBlob, getText } from "../api/rest.js";
import { complaintOf, complaintPlace } from "./complaint.js";
import { copyButton } from "./copy.js";
import { bytes, json, name, number } from "./format.js";
import { saveBlob } from "./saving.js";
import { el, onEnd, signal, untracked, verbatim } from "./view.js";
import { t } from "./words.js";

/** @typedef {{ $blob: string, size: number, mime: string, preview?: string, url?: string }} Reference */

/** So large a text is fetched without being asked for. */
const FETCHED_BYTES = 1_000_000;
/** So much of a text is shown; the whole can be saved. Tens of megabytes would hold up the page for many seconds. */
export const SHOWN_CHARACTERS = 200_000;
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
  if (!isReference(value)) {
    return namedBox(slot, longText(() => json(value), slot, label), () => json(value));
  }
  return el("div", { class: "value" }, el("h3", {}, el("bdi", {}, name(slot))), referenceBox(value, slot, label));
}

/**
 * A value below its name, with a button that copies it.
 * @param {string} slot
 * @param {Element} content
 * @param {() => string} text
 */
export function namedBox(slot, content, text) {
  const [button, said] = copyButton(t("copy"), text, t("copyOf", { slot: name(slot) }));
  const head = el("div", { class: "value-head" }, el("h3", {}, el("bdi", {}, name(slot))), button, said);
  return el("div", { class: "value" }, head, content);
}

/**
 * The begin of a text, and a way to save all of it when that is not all.
 * @param {() => string} text
 * @param {string} slot
 * @param {import("./view.js").Shown} label
 */
function longText(text, slot, label) {
  const save = () => saveBlob(`${slot}.txt`, new Blob([untracked(text)], { type: "text/plain" }));
  return el(
    "div",
    {},
    textBox(label, () => verbatim(shownPart(text()))),
    () => {
      const { length } = text();
      if (length <= SHOWN_CHARACTERS) return null;
      const hint = t("textCut", { shown: number(SHOWN_CHARACTERS), all: number(length) });
      return el(
        "p",
        { class: "actions" },
        el("span", { class: "quiet" }, hint),
        el("button", { type: "button", on: { click: save } }, t("saveText")),
      );
    },
  );
}

/** As much of a text as is shown, without half a sign at its end. @param {string} text */
export function shownPart(text) {
  return text.slice(0, SHOWN_CHARACTERS).replace(/[\ud800-\udbff]$/, "");
}

/**
 * @param {Reference} reference
 * @param {string} slot
 * @param {import("./view.js").Shown} label
 */
function referenceBox(reference, slot, label) {
  const text = signal(reference.preview ?? "");
  const isWhole = signal(false);
  const fetchWhole = async () => {
    try {
      text.value = await getText((reference.url ?? "").replace(/^\//, ""));
      isWhole.value = true;
    } catch (error) {
      text.value = complaintOf(error);
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
    longText(() => text.value, slot, label),
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
  const { attempt, place } = complaintPlace();
  const leaving = new AbortController();
  const fetched = () => getBlob((url ?? "").replace(/^\//, ""), { signal: leaving.signal });
  const show = () => attempt(async () => void (picture.value = URL.createObjectURL(await fetched())));
  const save = () => attempt(async () => saveBlob((url ?? "").split("/").at(-1) ?? "", await fetched()));
  onEnd(() => {
    leaving.abort(); // a picture that comes later would be kept as long as the tab
    URL.revokeObjectURL(picture.peek());
  });
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
    place,
  );
}
