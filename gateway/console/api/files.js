/** Files of the user: folder by folder, and each change only to the version that was seen. */

import { fileAddress } from "../lib/paths.js";
import { saveBlob } from "../lib/saving.js";
import { authorization, change, errorOf, GatewayAway, getBlob, getHeader, getJson, urlOf } from "./rest.js";

/**
 * A file, or a folder, whose path ends in `/`. `size` in bytes, `lastModified` in milliseconds since 1970.
 * @typedef {{ name: string, logicalPath: string, itemType: "file" | "directory", size?: number, lastModified: number }}
 *   FolderItem
 */
/** What must be so for an upload: that there is no such file, or that it is the version that was seen. */
/** @typedef {{ "If-None-Match": "*" } | { "If-Match": string }} Condition */

/** So many files of a list are counted; then it is "at least". */
export const MOST_COUNTED = 10_000;

/**
 * What stands in a folder, folders first; a missing one is empty.
 * @param {string} folder
 * @returns {Promise<FolderItem[]>}
 */
export function listFolder(folder) {
  return getJson(`api/fam/list/${encodeURIComponent(folder)}`);
}

/**
 * How many files are below a folder, and their bytes.
 * @param {string} folder
 */
export async function countBelow(folder) {
  /** @type {{ size: number }[]} */
  const files = await getJson(fileAddress(folder), { query: { limit: String(MOST_COUNTED) } });
  return { files: files.length, bytes: files.reduce((sum, file) => sum + file.size, 0) };
}

/**
 * The version of a file, for a condition.
 * @param {string} path
 */
export function versionOf(path) {
  return getHeader(fileAddress(path), "ETag");
}

/**
 * @param {string} folder
 * @param {string} name
 */
export function makeFolder(folder, name) {
  return change("POST", "api/fam/create-dir", { body: { parentLogicalPath: folder, dirName: name } });
}

/**
 * Give a file or folder another name. Nothing is overwritten.
 * @param {string} path
 * @param {string} name
 */
export function rename(path, name) {
  return change("PUT", "api/fam/rename", { body: { logicalPath: path, newName: name } });
}

/**
 * Move a file or folder into another folder, which must be there. Nothing is overwritten.
 * @param {string} path
 * @param {string} folder
 */
export function move(path, folder) {
  return change("PUT", "api/fam/move", { body: { sourcePaths: [path], targetParentPath: folder } });
}

/**
 * @param {string} path
 * @param {string} version Only this one is deleted.
 */
export function deleteFile(path, version) {
  return change("DELETE", fileAddress(path), { headers: { "If-Match": version } });
}

/**
 * Delete a folder with all that is in it.
 * @param {string} path
 */
export function deleteFolder(path) {
  return change("DELETE", "api/fam/delete", { body: { logicalPaths: [path] } });
}

/**
 * Have the browser save a file.
 * @param {FolderItem} item
 */
export async function download({ logicalPath, name }) {
  saveBlob(name, await getBlob(fileAddress(logicalPath)));
}

/**
 * Write a file, whole or not at all.
 * @param {string} path
 * @param {Blob} file
 * @param {{ condition: Condition, progress: (sent: number) => void, signal: AbortSignal }} options `progress` gets the
 *   share that was sent, from 0 to 1.
 * @returns {Promise<void>}
 */
export function upload(path, file, { condition, progress, signal }) {
  // `fetch` does not say how much was sent.
  const request = new XMLHttpRequest();
  request.open("PUT", urlOf(fileAddress(path)));
  for (const [name, value] of Object.entries({ ...authorization(), ...condition })) {
    request.setRequestHeader(name, value);
  }
  request.upload.addEventListener("progress", (event) => progress(event.loaded / Math.max(1, event.total)));
  signal.addEventListener("abort", () => request.abort());
  return new Promise((resolve, reject) => {
    request.addEventListener("load", () => {
      if (request.status < 300) resolve();
      else reject(errorOf(request.status, request.responseText));
    });
    request.addEventListener("error", () => reject(new GatewayAway("the upload was cut off")));
    request.addEventListener("abort", () => reject(new DOMException("", "AbortError")));
    request.send(file);
  });
}
