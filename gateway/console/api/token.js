/** The access token: asked for once, kept until the tab closes, shown in a header and never in an address. */

import { signal } from "../lib/view.js";

const KEPT = "innkeeper.token";

/** Has the gateway asked for a token that we do not have, or refused the one that we have? */
export const isTokenNeeded = signal(false);

/** @returns {string | null} */
export function token() {
  return sessionStorage.getItem(KEPT);
}

/** @param {string} text */
export function keepToken(text) {
  sessionStorage.setItem(KEPT, text);
  isTokenNeeded.value = false;
}

/** The gateway does not take what we have. */
export function refuseToken() {
  sessionStorage.removeItem(KEPT);
  isTokenNeeded.value = true;
}
