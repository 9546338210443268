/** What went wrong with something that somebody did, told beside it. */

import { GatewayAway, GatewayError } from "../api/rest.js";
import { el, signal, verbatim } from "./view.js";
import { t } from "./words.js";

/** @typedef {import("./view.js").Shown} Shown */

/**
 * Why a request failed. Anything else is a fault of the page, and is thrown on.
 * @param {unknown} error
 */
export function reasonOf(error) {
  if (error instanceof GatewayError) return verbatim(error.message);
  if (error instanceof GatewayAway) return t("gatewayAway");
  throw error;
}

/**
 * That a request failed, and why.
 * @param {unknown} error
 */
export function complaintOf(error) {
  return t("failed", { message: reasonOf(error) });
}

/**
 * Where it is told, at once also to who only listens.
 * @param {() => Shown | null} complaint
 */
export function alertPlace(complaint) {
  return el("p", { class: "error", role: "alert" }, () => complaint() ?? verbatim(""));
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
  return { attempt, place: alertPlace(() => complaint.value) };
}
