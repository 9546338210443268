/** Logical paths of files: `user://notes/a.txt`; those of folders end in `/`. */

/** Where files are, and whether users may change what is there. @typedef {"user" | "shared" | "system"} Scheme */

/** @type {readonly Scheme[]} */
export const SCHEMES = ["user", "shared", "system"];
/** @type {Readonly<Record<Scheme, import("./words.js").Word>>} */
export const SCHEME_WORDS = { user: "ownFiles", shared: "sharedFiles", system: "systemFiles" };
const WRITABLE = new Set(["user", "shared"]);

/**
 * The folder that an address means; the user's own one when it means none.
 * @param {string | undefined} text
 */
export function folderOf(text) {
  const { scheme, names } = parts(text ?? "");
  if (!(/** @type {readonly string[]} */ (SCHEMES)).includes(scheme)) return "user://";
  return folderAt(scheme, names);
}

/** @param {string} path @returns {{ scheme: string, names: string[] }} */
function parts(path) {
  const [scheme = "", inner = ""] = path.split(/:\/\/(.*)/s, 2);
  return { scheme, names: inner.split("/").filter((name) => name !== "") };
}

/**
 * @param {string} scheme
 * @param {readonly string[]} names
 */
function folderAt(scheme, names) {
  return `${scheme}://${names.map((name) => `${name}/`).join("")}`;
}

/** @param {string} path */
export function schemeOf(path) {
  return /** @type {Scheme} */ (parts(path).scheme);
}

/** @param {string} path */
export function isWritable(path) {
  return WRITABLE.has(schemeOf(path));
}

/**
 * The last name of a path; of a scheme's own folder the whole.
 * @param {string} path
 */
export function lastName(path) {
  return parts(path).names.at(-1) ?? path;
}

/**
 * The folders on the way to a folder, outermost first, itself last.
 * @param {string} folder
 */
export function wayTo(folder) {
  const { scheme, names } = parts(folder);
  return Array.from({ length: names.length + 1 }, (_none, depth) => folderAt(scheme, names.slice(0, depth)));
}

/**
 * The address of a file at the gateway; of a folder that of the list of all files below it.
 * @param {string} path
 */
export function fileAddress(path) {
  const { scheme, names } = parts(path);
  const tail = path.endsWith("/") ? "/" : "";
  return `api/files/${[scheme, ...names].map(encodeURIComponent).join("/")}${names.length > 0 ? tail : ""}`;
}
