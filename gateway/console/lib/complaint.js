/** What went wrong with something that somebody did, told beside it. */

import { GatewayAway, GatewayError } from "../api/rest.js";
import { el, signal, verbatim } from "./view.js";
import { t } from "./words.js";

/** @typedef {import("./view.js").Shown} Shown */

/**
 * A request that failed, in words. Anything else is a fault of the page, and is thrown on.
 * @param {unknown} error
 */
export function complaintOf(error) {
  if (error instanceof GatewayError) return t("failed", { message: error.message });
  if (error instanceof GatewayAway) return t("failed", { message: t("gatewayAway") });
  throw error;
}

/** A place for complaints, and the way to do something that may fail. */
export function complaintPlace() {
  const complaint = signal(/** @type {Shown | null} */ (null));
  /**
   * @param {() => Promise<unknown>} act
   * @returns {Promise<boolean>} Did it work?
   */
  const attempt = async (act) => {
    complaint.value = null;
    try {
      await act();
      return true;
    } catch (error) {
      // Given up by whoever asked for it.
      if (!(error instanceof DOMException && error.name === "AbortError")) complaint.value = complaintOf(error);
      return false;
    }
  };
  return { attempt, place: el("p", { class: "error", role: "alert" }, () => complaint.value ?? verbatim("")) };
}
