/** Routes live behind the `#` of the address, so that the gateway serves one file: `#/runs?status=error`. */

import { effect, signal } from "./view.js";

/** @typedef {{ path: readonly string[], filters: Readonly<Record<string, string>> }} Route */
/** @typedef {Readonly<Record<string, string>>} Parameters */

/**
 * @param {string} hash With or without `#`.
 * @returns {Route}
 */
export function parse(hash) {
  const [path = "", query = ""] = hash.replace(/^#/, "").split("?", 2);
  const parts = path.split("/").filter((part) => part !== "");
  return { path: parts.map(decoded), filters: Object.fromEntries(new URLSearchParams(query)) };
}

/** @param {string} part */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // somebody wrote the address by hand
  }
}

/**
 * The address of a route; filters that are empty are left out.
 * @param {readonly string[]} path
 * @param {Record<string, string>} [filters]
 */
export function href(path, filters = {}) {
  const query = new URLSearchParams(Object.entries(filters).filter(([, value]) => value !== ""));
  const tail = query.size > 0 ? `?${query}` : "";
  return `#/${path.map(encodeURIComponent).join("/")}${tail}`;
}

/**
 * The parameters of a path that fits a pattern such as `run/:id`, null when it does not. `:part?` at the end may be
 * missing.
 * @param {string} pattern
 * @param {readonly string[]} path
 * @returns {Parameters | null}
 */
export function match(pattern, path) {
  const wanted = pattern.split("/").filter((part) => part !== "");
  if (path.length > wanted.length) return null;
  /** @type {Record<string, string>} */
  const found = {};
  for (const [index, part] of wanted.entries()) {
    const here = path[index];
    if (part.startsWith(":")) {
      if (here === undefined && !part.endsWith("?")) return null;
      if (here !== undefined) found[part.slice(1).replace("?", "")] = here;
    } else if (part !== here) return null;
  }
  return found;
}

/** Where the page is. */
export const route = signal(parse(""));

/** Follow the address from now on. */
export function startRouter() {
  const read = () => {
    route.value = parse(location.hash);
  };
  addEventListener("hashchange", read);
  read();
}

/** @param {readonly string[]} path */
export function go(path) {
  location.hash = href(path);
}

/**
 * Change one filter in the address. The way back does not lead through every letter that was typed.
 * @param {string} name
 * @param {string} value
 */
export function setFilter(name, value) {
  setFilters({ [name]: value });
}

/**
 * Change some filters at once, as `setFilter` does one.
 * @param {Record<string, string>} changes
 */
export function setFilters(changes) {
  history.replaceState(null, "", withFilters(changes));
  route.value = parse(location.hash);
}

/**
 * The address of this page with some filters changed.
 * @param {Record<string, string>} changes
 */
export function withFilters(changes) {
  const { path, filters } = route.value;
  return href(path, { ...filters, ...changes });
}

/**
 * Keep a field as the address says, also when somebody goes back, or follows a link to the page that is shown.
 * @param {HTMLInputElement | HTMLSelectElement} field
 * @param {() => Readonly<Record<string, string>>} filters
 * @param {string} name
 */
export function followFilter(field, filters, name) {
  effect(() => {
    const value = filters()[name] ?? "";
    if (field.value !== value) field.value = value;
  });
}
