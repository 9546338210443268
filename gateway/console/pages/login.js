/** Asks for the access token, and tries it. */

import { GatewayError, getJson } from "../api/rest.js";
import { keepToken } from "../api/token.js";
import { el, signal, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { messageOf } from "./rerun.js";

/** @typedef {import("./page.js").Page} Page */

/** @returns {Page} */
export function loginPage() {
  const complaint = signal(/** @type {import("../lib/view.js").Shown | null} */ (null));
  const field = el("input", { type: "password", name: "token", autocomplete: "off", required: true, id: "token" });
  const tryToken = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const typed = field.value.trim();
    try {
      await getJson("api/system_stats", { headers: { Authorization: `Bearer ${typed}` } });
      keepToken(typed);
    } catch (error) {
      const isWrong = error instanceof GatewayError && error.status === 401;
      complaint.value = isWrong ? t("tokenWrong") : t("failed", { message: messageOf(error) });
      field.select();
    }
  };
  const content = el(
    "form",
    { class: "login", on: { submit: tryToken } },
    el("h1", { tabindex: "-1" }, t("login")),
    el("p", {}, t("loginHint")),
    el("label", { for: "token" }, t("token")),
    field,
    el("p", { class: "error", role: "alert" }, () => complaint.value ?? verbatim("")),
    el("p", { class: "actions" }, el("button", { class: "primary" }, t("logIn"))),
  );
  return { title: () => t("login"), content };
}
