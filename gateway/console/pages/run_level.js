/** Where in a run the page is: shared by its list and its graph. `?in=PATH` in the address, or where `?node=PATH` is. */

import { GatewayAway, GatewayError, getJson } from "../api/rest.js";
import { guessedLevel, levelAt, placeOf } from "../graph/levels.js";
import { name } from "../lib/format.js";
import { href } from "../lib/router.js";
import { computed, effect, el, onEnd, signal, untracked } from "../lib/view.js";
import { t } from "../lib/words.js";

/** @typedef {import("../graph/levels.js").Level} Level */
/** @typedef {import("../graph/levels.js").Json} Json */
/** @typedef {import("../lib/view.js").Readable<Level | null>} LiveLevel */
/** @typedef {import("./run.js").Run} Run */

const AGAIN_MS = 1000;
/** A graph that is guessed of events is laid out anew so often while they come. */
const GUESS_MS = 250;

/**
 * Belongs to the surrounding effect.
 * @param {Run} run
 * @returns {LiveLevel} Null while it is loaded.
 */
export function followLevel({ id, store, filters }) {
  const level = signal(/** @type {Level | null} */ (null));
  const place = computed(() => placeOf(filters()));
  const fetchDocument = documentsOf(id);
  const paths = () => [...store.view.nodes.keys()];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let isOver = false;
  const load = async (/** @type {string} */ wanted) => {
    try {
      const found = await levelAt(wanted, fetchDocument, paths);
      if (!isOver && wanted === place.peek()) level.value = found;
    } catch (error) {
      if (!(error instanceof GatewayAway || error instanceof GatewayError)) throw error;
      if (!isOver && wanted === place.peek()) timer = setTimeout(() => load(wanted), AGAIN_MS);
    }
  };
  const guess = () => {
    timer = undefined;
    level.value = guessedLevel(place.peek(), paths());
  };
  const grow = () => {
    if (level.peek()?.isKept === false && timer === undefined) timer = setTimeout(guess, GUESS_MS);
  };
  effect(() => {
    const wanted = place.value;
    untracked(() => {
      clearTimeout(timer);
      timer = undefined;
      load(wanted);
    });
  });
  onEnd(store.watch({ show: grow, add: grow, touch: () => {} }));
  onEnd(() => {
    isOver = true;
    clearTimeout(timer);
  });
  return level;
}

/**
 * Documents of a run by path, each asked for once.
 * @param {string} id
 * @returns {import("../graph/levels.js").FetchDocument}
 */
function documentsOf(id) {
  /** @type {Map<string, Json | null>} */
  const known = new Map();
  return async (path) => {
    const found = known.get(path);
    if (found !== undefined) return found;
    const document = await fetchDocument(id, path);
    known.set(path, document);
    return document;
  };
}

/** @param {string} id @param {string} path @returns {Promise<Json | null>} */
async function fetchDocument(id, path) {
  try {
    /** @type {{ document: Json }} */
    const answer = await getJson(`api/prompt/${encodeURIComponent(id)}/document`, {
      query: path === "" ? {} : { path },
    });
    return answer.document;
  } catch (error) {
    if (error instanceof GatewayError && error.status === 404) return null; // an old run
    throw error;
  }
}

/**
 * What is shown at a place, made anew for another one. Whoever was in it with the keyboard is in the new one.
 * @param {LiveLevel} level
 * @param {(level: Level) => Element} make
 * @returns {() => import("../lib/view.js").Plain}
 */
export function contentAt(level, make) {
  // A graph that grows with the events is no other place.
  const place = computed(() => level.value === null ? null : `${level.value.kind} ${level.value.prefix}`);
  /** @type {Element | null} */
  let content = null;
  return () => {
    if (place.value === null) return el("p", { class: "quiet" }, t("loading"));
    const hadFocus = content?.contains(document.activeElement) ?? false;
    const made = untracked(() => make(/** @type {Level} */ (level.peek())));
    content = made;
    if (hadFocus) {
      queueMicrotask(() => /** @type {HTMLElement | null} */ (made.querySelector("[tabindex='0'], a"))?.focus());
    }
    return made;
  };
}

/**
 * The way back out of groups; nothing at the top.
 * @param {Level} level
 * @param {(place: string) => string} hrefOf
 */
export function crumbs({ crumbs: steps }, hrefOf) {
  if (steps.length === 0) return null;
  const last = steps.length - 1;
  const links = steps.map(({ path, title, item }, at) => {
    const word = item === null ? name(title) : t("item", { n: item });
    const here = at === last ? { "aria-current": "location" } : {};
    return el("li", {}, el("a", { href: hrefOf(path), ...here }, el("bdi", {}, word)));
  });
  const top = el("li", {}, el("a", { href: hrefOf("") }, t("run")));
  return el("nav", { class: "crumbs", "aria-label": t("crumbs") }, el("ol", {}, top, ...links));
}

/**
 * The address of a place in a run, in the view that is open.
 * @param {string} id
 * @param {string} view
 * @param {Record<string, string>} filters
 */
export function hrefIn(id, view, filters) {
  return href(view === "" ? ["run", id] : ["run", id, view], filters);
}

/**
 * Where an approval is answered.
 * @param {string} run
 * @param {string} [node] Its path; without it the first one of the run.
 */
export function answerHref(run, node = "") {
  return href(["approvals"], { run, node });
}

/** @param {Level} level */
export function guessHint({ isKept }) {
  return isKept ? null : el("p", { class: "quiet" }, t("documentNotKept"));
}
