/** Files of the user, folder by folder. Which folder is shown stands in the address. */

import { countBelow, deleteFile, deleteFolder, download, listFolder, makeFolder, MOST_COUNTED } from "../api/files.js";
import { move, rename, versionOf } from "../api/files.js";
import { complaintPlace } from "../lib/complaint.js";
import { copyButton } from "../lib/copy.js";
import { askText, openDialog } from "../lib/dialog.js";
import { bytes, moment, name, number } from "../lib/format.js";
import { folderOf, isWritable, lastName, SCHEME_WORDS, schemeOf, SCHEMES, wayTo } from "../lib/paths.js";
import { href } from "../lib/router.js";
import { computed, each, effect, el, signal, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { keepFresh, listHint, update } from "../run/lists.js";
import { uploadAll, uploadList, uploadsDone } from "./uploads.js";

/** @typedef {import("../api/files.js").FolderItem} FolderItem */
/** @typedef {import("../lib/view.js").Shown} Shown */
/** @typedef {import("../lib/words.js").Word} Word */
/**
 * What the parts of the page share. `attempt` does something that may fail, and shows the folder anew.
 * @typedef {{ folder: () => string, items: () => readonly FolderItem[], attempt: (act: () => Promise<unknown>) => void }}
 *   Shelf
 */

const STEP = 200;

/** @param {import("./page.js").PageContext} context @returns {import("./page.js").Page} */
export function filesPage({ socket, filters }) {
  const folder = computed(() => folderOf(filters().in));
  const items = signal(/** @type {readonly FolderItem[] | null} */ (null));
  const revision = signal(0);
  const complaints = complaintPlace();
  const load = async () => {
    const asked = folder.peek();
    const found = await listFolder(asked);
    if (asked === folder.peek()) update(items, found);
  };
  const attempt = async (/** @type {() => Promise<unknown>} */ act) => {
    await complaints.attempt(act);
    revision.value++;
  };
  effect(() => {
    folder.value;
    items.value = null;
  });
  const fresh = keepFresh(socket, load, () => [folder.value, revision.value, uploadsDone.value]);
  const shelf = { folder: () => folder.value, items: () => items.value ?? [], attempt };
  const content = el(
    "div",
    { class: "page" },
    el("h1", { tabindex: "-1" }, t("files")),
    places(folder),
    way(folder),
    () => isWritable(folder.value) ? tools(shelf) : null,
    complaints.place,
    uploadList(),
    listHint(fresh, () => items.value, t("emptyFolder")),
    list(shelf),
  );
  takeDrops(content, shelf);
  followWay(content, folder);
  return { title: () => verbatim(`${name(lastName(folder.value))} · ${t("files")}`), content };
}

/** @param {import("../lib/view.js").Readable<string>} folder */
function places(folder) {
  const links = SCHEMES.map((scheme) => {
    const isHere = () => (schemeOf(folder.value) === scheme ? "page" : null);
    const way = href(["files"], { in: `${scheme}://` });
    return el("li", {}, el("a", { href: way, "aria-current": isHere }, t(SCHEME_WORDS[scheme])));
  });
  return el("nav", { class: "views", "aria-label": t("places") }, el("ul", {}, ...links));
}

/** @param {import("../lib/view.js").Readable<string>} folder */
function way(folder) {
  const steps = each(() => wayTo(folder.value), (path) => path, (_path, path) => {
    const isHere = () => (folder.value === path ? "location" : null);
    const link = el("a", { href: href(["files"], { in: path }), "aria-current": isHere }, name(lastName(path)));
    return el("li", {}, el("bdi", {}, link));
  });
  return el("nav", { class: "crumbs", "aria-label": t("wayToFolder") }, el("ol", {}, steps));
}

/**
 * Whoever opened a folder by its link stands nowhere when the link is gone.
 * @param {HTMLElement} content
 * @param {import("../lib/view.js").Readable<string>} folder
 */
function followWay(content, folder) {
  let shown = folder.peek();
  effect(() => {
    if (folder.value === shown) return;
    shown = folder.value;
    content.querySelector("h1")?.focus();
  });
}

/** @param {Shelf} shelf */
function tools({ folder, attempt }) {
  const field = el("input", { type: "file", multiple: true, hidden: true });
  field.addEventListener("change", () => {
    uploadAll(folder(), [...field.files ?? []]);
    field.value = ""; // the same file may be chosen again
  });
  const create = async () => {
    const wanted = await askText(t("newFolder"), { label: t("nameField"), action: t("create") });
    if (wanted !== null) attempt(() => makeFolder(folder(), wanted));
  };
  return el(
    "div",
    { class: "actions" },
    el("button", { class: "primary", type: "button", on: { click: () => field.click() } }, t("upload")),
    field,
    el("button", { type: "button", on: { click: create } }, t("newFolder")),
    el("span", { class: "quiet" }, t("dropHint")),
  );
}

/**
 * Files that are dropped anywhere on the page are uploaded. Elsewhere the browser would open them.
 * @param {HTMLElement} content
 * @param {Shelf} shelf
 */
function takeDrops(content, { folder }) {
  const mark = (/** @type {boolean} */ isOver) => content.classList.toggle("takes-drop", isOver);
  content.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files") || !isWritable(folder())) return;
    event.preventDefault();
    mark(true);
  });
  content.addEventListener("dragleave", () => mark(false));
  content.addEventListener("drop", (event) => {
    mark(false);
    if (!event.dataTransfer?.types.includes("Files") || !isWritable(folder())) return;
    event.preventDefault();
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry());
    const files = [...event.dataTransfer.files].filter((_file, at) => !entries[at]?.isDirectory);
    uploadAll(folder(), files);
    if (files.length < entries.length) openDialog(t("upload"), [el("p", {}, t("noFolders"))]);
  });
}

/** @param {Shelf} shelf */
function list(shelf) {
  const limit = signal(STEP);
  effect(() => {
    shelf.folder();
    limit.value = STEP;
  });
  const shown = () => shelf.items().slice(0, limit.value);
  const rows = each(shown, (item) => item.logicalPath, (item) => row(item, shelf));
  const more = () => {
    if (shelf.items().length <= limit.value) return null;
    return el("button", { type: "button", on: { click: () => (limit.value += STEP) } }, t("more"));
  };
  return el("section", { "aria-label": t("filesHere") }, el("ul", { class: "files" }, rows), more);
}

/**
 * @param {import("../lib/view.js").Readable<FolderItem>} item
 * @param {Shelf} shelf
 */
function row(item, shelf) {
  const { logicalPath: path, itemType } = item.peek();
  const isFolder = itemType === "directory";
  const shown = name(lastName(path));
  const sign = el("span", { "aria-hidden": "true" }, verbatim(isFolder ? "▸" : "·"));
  const link = isFolder
    ? el("a", { href: href(["files"], { in: path }) }, el("bdi", {}, shown), verbatim("/"))
    : el("bdi", {}, shown);
  const facts = () => [
    item.value.size === undefined ? null : el("span", {}, bytes(item.value.size)),
    el("span", { title: t("changedAt") }, moment(item.value.lastModified)),
  ];
  return el(
    "li",
    { class: "file-row" },
    el("span", { class: "file-name" }, sign, link),
    el("span", { class: "row-facts" }, facts),
    el("span", { class: "row-actions" }, ...actions(item.peek(), shelf, shown)),
  );
}

/**
 * @param {FolderItem} item
 * @param {Shelf} shelf
 * @param {Shown} shown
 */
function actions(item, shelf, shown) {
  const isFolder = item.itemType === "directory";
  const button = (/** @type {Word} */ word, /** @type {() => void} */ click) =>
    el("button", { type: "button", "aria-label": verbatim(`${t(word)} ${shown}`), on: { click } }, t(word));
  const path = copyButton(t("copyPath"), () => item.logicalPath, verbatim(`${t("copyPath")} ${shown}`));
  const save = isFolder ? path : [...path, button("download", () => shelf.attempt(() => download(item)))];
  if (!isWritable(item.logicalPath)) return save;
  return [
    ...save,
    button("rename", () => askName(item, shelf)),
    button("move", () => askPlace(item, shelf)),
    button("delete", () => shelf.attempt(() => isFolder ? askFolder(item) : askFile(item))),
  ];
}

/**
 * @param {FolderItem} item
 * @param {Shelf} shelf
 */
async function askName({ logicalPath: path }, { attempt }) {
  const present = lastName(path);
  const wanted = await askText(t("renameWhat", { name: name(present) }), {
    label: t("nameField"),
    value: present,
    action: t("rename"),
  });
  if (wanted !== null && wanted !== present) attempt(() => rename(path, wanted));
}

/**
 * @param {FolderItem} item
 * @param {Shelf} shelf
 */
async function askPlace({ logicalPath: path }, { folder, items, attempt }) {
  const beside = items().filter((one) => one.itemType === "directory").map((one) => one.logicalPath);
  const suggestions = [...wayTo(folder()).slice(0, -1), ...beside.filter((one) => one !== path)];
  const wanted = await askText(t("moveWhat", { name: name(lastName(path)) }), {
    label: t("targetFolder"),
    value: folder(),
    action: t("move"),
    suggestions,
  });
  if (wanted !== null && wanted !== folder()) attempt(() => move(path, wanted));
}

/**
 * What is deleted is the version that the question was asked of.
 * @param {FolderItem} item
 */
async function askFile({ logicalPath: path }) {
  const version = await versionOf(path);
  const hint = el("p", {}, t("deleteFileHint"));
  const title = t("deleteWhat", { name: name(lastName(path)) });
  if (await openDialog(title, [hint], { action: t("delete") })) await deleteFile(path, version);
}

/** @param {FolderItem} item */
async function askFolder({ logicalPath: path }) {
  const { files: n, bytes: size } = await countBelow(path);
  const count = n === MOST_COUNTED ? t("noLessThan", { n: number(n) }) : number(n);
  const hint = el("p", {}, t("deleteFolderHint", { n, count, size: bytes(size) }));
  const title = t("deleteWhat", { name: name(lastName(path)) });
  if (await openDialog(title, [hint], { action: t("delete") })) await deleteFolder(path);
}
