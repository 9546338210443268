/** What is stored, by kind; and what of it nothing refers to any more. */

import { countBelow, MOST_COUNTED } from "../api/files.js";
import { change } from "../api/rest.js";
import { complaintPlace } from "../lib/complaint.js";
import { openDialog } from "../lib/dialog.js";
import { bytes, number } from "../lib/format.js";
import { SCHEME_WORDS, SCHEMES } from "../lib/paths.js";
import { el, signal } from "../lib/view.js";
import { t } from "../lib/words.js";

/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {import("../lib/words.js").Word} Word */
/**
 * What a collection did, or would do.
 * @typedef {{
 *   deleted: number, deletedBytes: number, kept: number, keptBytes: number, marked: number, temporaries: number,
 * }} Collected
 */
/** @typedef {{ kind: Word, count: Shown, size: Shown | null }} Row */

export function storage() {
  const rows = signal(/** @type {readonly Row[] | null} */ (null));
  const deletable = signal(0);
  const told = signal(/** @type {Shown | null} */ (null));
  const isBusy = signal(false);
  const { attempt, place } = complaintPlace();
  const busily = async (/** @type {() => Promise<void>} */ act) => {
    isBusy.value = true;
    await attempt(act);
    isBusy.value = false;
  };
  const look = async () => {
    const [values, files] = await Promise.all([collect(true), Promise.all(SCHEMES.map(filesRow))]);
    deletable.value = values.deleted + values.temporaries;
    rows.value = [...valueRows(values), ...files];
  };
  const remove = async () => {
    const hint = el("p", {}, t("collectHint"));
    if (!await openDialog(t("collectTitle"), [hint], { action: t("delete") })) return;
    const { deleted, deletedBytes } = await collect(false);
    told.value = t("collected", { n: deleted, size: bytes(deletedBytes) });
    await look();
  };
  const button = (/** @type {Word} */ word, /** @type {() => Promise<void>} */ act) =>
    el("button", { type: "button", disabled: () => isBusy.value, on: { click: () => busily(act) } }, t(word));
  return el(
    "section",
    { "aria-label": t("storage") },
    el("h2", {}, t("storage")),
    el("p", { class: "quiet" }, t("storageHint")),
    () => rows.value === null ? null : table(rows.value),
    el(
      "div",
      { class: "actions" },
      button("lookAtStorage", look),
      () => deletable.value > 0 ? button("collect", remove) : null,
      el("p", { role: "status", class: "quiet" }, () => told.value),
      place,
    ),
  );
}

/** @param {boolean} isDry @returns {Promise<Collected>} */
async function collect(isDry) {
  return /** @type {Collected} */ (await change("POST", "api/gc", { query: { dryRun: String(isDry) } }));
}

/** @param {Collected} found @returns {Row[]} */
function valueRows({ deleted, deletedBytes, kept, keptBytes, marked, temporaries }) {
  return [
    { kind: "valuesKept", count: number(kept), size: bytes(keptBytes) },
    { kind: "valuesYoung", count: number(kept - marked), size: null },
    { kind: "valuesUnused", count: number(deleted), size: bytes(deletedBytes) },
    { kind: "filesLeft", count: number(temporaries), size: null },
  ];
}

/** @param {import("../lib/paths.js").Scheme} scheme @returns {Promise<Row>} */
async function filesRow(scheme) {
  const { files, bytes: size } = await countBelow(`${scheme}://`);
  const isMore = files === MOST_COUNTED;
  const atLeast = (/** @type {Shown} */ n) => isMore ? t("noLessThan", { n }) : n;
  return { kind: SCHEME_WORDS[scheme], count: atLeast(number(files)), size: atLeast(bytes(size)) };
}

/** @param {readonly Row[]} rows */
function table(rows) {
  const head = ["storedKind", "storedCount", "storedSize"].map((word) =>
    el("th", { scope: "col" }, t(/** @type {Word} */ (word)))
  );
  const lines = rows.map(({ kind, count, size }) =>
    el("tr", {}, el("th", { scope: "row" }, t(kind)), el("td", {}, count), el("td", {}, size))
  );
  return el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...lines));
}
