/** What stays fresh: the gateway says when the number of runs changes, and the rest is asked for. */

import { GatewayAway, GatewayError } from "../api/rest.js";
import { complaintOf } from "../lib/complaint.js";
import { loadingHint } from "../lib/loading.js";
import { computed, effect, el, onEnd, signal, untracked } from "../lib/view.js";

/**
 * `problem` says why the gateway did not give it the last time.
 * @typedef {{ problem: import("../lib/view.js").Readable<import("../lib/view.js").Shown | null> }} Fresh
 */

const EVERY_MS = 5000;
/** Runs that come and go in a crowd are looked at together; and once more, when a new one may wait for somebody. */
const LOOKS_MS = [300, 1000];

/**
 * Load one at a time, so that no older answer follows a newer one. Who asks meanwhile has it loaded once more.
 * @param {() => Promise<void>} load
 * @returns {() => Promise<void>}
 */
export function inTurn(load) {
  let isLoading = false;
  let isWanted = false;
  const reload = async () => {
    isWanted = isLoading;
    if (isLoading) return;
    isLoading = true;
    try {
      await load();
    } finally {
      isLoading = false;
      if (isWanted) reload();
    }
  };
  return reload;
}

/**
 * Load now, when the gateway tells that runs came or went, when it is back, and every few seconds while somebody looks.
 * Belongs to the surrounding effect.
 * @param {import("../api/socket.js").GatewaySocket} socket
 * @param {() => Promise<void>} load
 * @param {() => void} [follow] Reads signals: when they change, it is loaded at once.
 * @returns {Fresh}
 */
export function keepFresh(socket, load, follow = () => {}) {
  const problem = signal(/** @type {import("../lib/view.js").Shown | null} */ (null));
  const reload = inTurn(async () => {
    try {
      await load();
      problem.value = null;
    } catch (error) {
      // Away: the banner says so. Refused for want of a token: the page asks for one.
      if (!(error instanceof GatewayAway || error instanceof GatewayError)) throw error;
      if (error instanceof GatewayError) problem.value = complaintOf(error);
    }
  });
  /** @type {Set<ReturnType<typeof setTimeout>>} */
  const looks = new Set();
  const lookIn = (/** @type {number} */ milliseconds) => {
    const look = setTimeout(() => {
      looks.delete(look);
      reload();
    }, milliseconds);
    looks.add(look);
  };
  const timer = setInterval(() => document.hidden || reload(), EVERY_MS);
  const unlisten = socket.listen((frame) => {
    if (frame.type === "SYSTEM_QUEUE_UPDATE" && looks.size === 0) LOOKS_MS.forEach(lookIn);
  });
  const isThere = computed(() => socket.state.value !== "away");
  effect(() => {
    follow();
    if (isThere.value) untracked(reload);
  });
  onEnd(() => {
    clearInterval(timer);
    looks.forEach(clearTimeout);
    unlisten();
  });
  return { problem };
}

/**
 * Says that a list is on its way, why it does not come, or that it is empty.
 * @param {Fresh} fresh
 * @param {() => readonly unknown[] | null} list
 * @param {import("../lib/view.js").Shown} empty
 */
export function listHint({ problem }, list, empty) {
  const hint = loadingHint({ value: computed(list), problem });
  return () => hint() ?? (list()?.length === 0 ? el("p", { class: "quiet" }, empty) : null);
}

/**
 * Take a new value, unless it is as the old one was: then nothing is drawn anew, and what somebody has selected stays.
 * @template T
 * @param {import("../lib/view.js").Signal<T>} held
 * @param {T} value JSON.
 */
export function update(held, value) {
  if (JSON.stringify(value) !== JSON.stringify(held.peek())) held.value = value;
}
