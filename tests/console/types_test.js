// What the types forbid: `deno check` fails when a line below is allowed. Nothing here runs.
import { el, verbatim } from "../../gateway/console/lib/view.js";
import { t } from "../../gateway/console/lib/words.js";

export function _forbidden() {
  // @ts-expect-error A text of one language is no child.
  el("p", {}, "Hello");
  // @ts-expect-error Nor is one that a function gives.
  el("p", {}, () => "Hello");
  // @ts-expect-error Nor is one that is read aloud.
  el("button", { "aria-label": "Close" });
  // @ts-expect-error Nor is one that is shown for a while.
  el("input", { placeholder: "Your name" });
  // @ts-expect-error A word that no language has.
  t("no such word");
  el("p", { title: t("close") }, t("close"), verbatim(1), () => t("close"));
}
