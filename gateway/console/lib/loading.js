/** What a page asks the gateway for. */

import { isPassing } from "../api/rest.js";
import { complaintOf } from "./complaint.js";
import { computed, effect, el, onEnd, signal, untracked } from "./view.js";
import { t } from "./words.js";

/** @typedef {import("./view.js").Shown} Shown */
/**
 * `value` is null until it is there; `problem` says why it is not, or not anew.
 * @template T
 * @typedef {{
 *   value: import("./view.js").Readable<T | null>,
 *   problem: import("./view.js").Readable<Shown | null>,
 *   reload: () => Promise<void>,
 * }} Loaded
 */

const AGAIN_MS = 3000;

/**
 * Load now, when a signal changes that `load` reads before its first `await`, after a while when nobody answered, when
 * the gateway is back and something is missing, and when somebody says `reload`. Only the newest answer counts. Belongs
 * to the surrounding effect.
 * @template T
 * @param {import("../api/socket.js").GatewaySocket} socket
 * @param {() => Promise<T>} load
 * @returns {Loaded<T>}
 */
export function loading(socket, load) {
  const value = signal(/** @type {T | null} */ (null));
  const problem = signal(/** @type {Shown | null} */ (null));
  let asked = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let again;
  const reload = async () => {
    clearTimeout(again);
    const own = ++asked;
    try {
      const found = await load();
      if (own !== asked) return;
      problem.value = null;
      value.value = found;
    } catch (error) {
      if (own !== asked) return;
      problem.value = complaintOf(error);
      if (isPassing(error)) again = setTimeout(() => untracked(reload), AGAIN_MS);
    }
  };
  onEnd(() => {
    asked++;
    clearTimeout(again);
  });
  effect(() => {
    reload();
  });
  const isThere = computed(() => socket.state.value !== "away");
  effect(() => {
    if (isThere.value && problem.peek() !== null) untracked(reload);
  });
  return { value, problem, reload: () => untracked(reload) };
}

/**
 * Says that something is on its way, or why it does not come.
 * @param {Pick<Loaded<unknown>, "value" | "problem">} loaded
 */
export function loadingHint({ value, problem }) {
  return () => {
    if (problem.value !== null) return el("p", { class: "error", role: "alert" }, problem.value);
    return value.value === null ? el("p", {}, t("loading")) : null;
  };
}
