/** Puts the page together: words, routes, the socket, and around each page the head and the banner. */

import { socketTicket } from "./api/rest.js";
import { GatewaySocket } from "./api/socket.js";
import { isTokenNeeded, refuseToken } from "./api/token.js";
import { followVersion, isOutdated } from "./api/version.js";
import { openDialog } from "./lib/dialog.js";
import { duration, name } from "./lib/format.js";
import { bindKeys } from "./lib/keys.js";
import { go, href, match, route, startRouter } from "./lib/router.js";
import { computed, effect, el, onEnd, signal, untracked, verbatim } from "./lib/view.js";
import { chooseLanguage, language, LANGUAGES, startWords, t } from "./lib/words.js";
import { approvalsPage } from "./pages/approvals.js";
import { filesPage } from "./pages/files.js";
import { homePage } from "./pages/home.js";
import { loginPage } from "./pages/login.js";
import { nodeTypePage } from "./pages/node_type.js";
import { nodesPage } from "./pages/nodes.js";
import { runPage } from "./pages/run.js";
import { runsPage } from "./pages/runs.js";
import { startPage } from "./pages/start.js";
import { workflowPage } from "./pages/workflow.js";
import { workflowsPage } from "./pages/workflows.js";
import { triggersPage } from "./pages/triggers.js";
import { usagePage } from "./pages/usage.js";
import { followOpenApprovals, openCount } from "./run/open_count.js";
import { systemPage } from "./pages/system.js";

/** @typedef {import("./lib/words.js").Language} Language */
/** @typedef {import("./pages/page.js").MakePage} MakePage */
/** @typedef {import("./pages/page.js").Page} Page */

/** @type {[string, MakePage][]} */
const PAGES = [
  ["", homePage],
  ["runs", runsPage],
  ["run/:id/:view?", runPage],
  ["workflows", workflowsPage],
  ["workflows/:id", workflowPage],
  ["start/:id", startPage],
  ["approvals", approvalsPage],
  ["triggers", triggersPage],
  ["usage", usagePage],
  ["files", filesPage],
  ["nodes", nodesPage],
  ["nodes/:type", nodeTypePage],
  ["system", systemPage],
];

const socket = new GatewaySocket({
  address: () => new URL("ws", document.baseURI.replace(/^http/, "ws").replace(/#.*/, "")),
  ticket: socketTicket,
  tokenRefused: refuseToken,
});

/** @type {MakePage} */
function missingPage() {
  const address = name(location.hash);
  const hint = el("p", {}, t("notFoundHint", { address }));
  return { title: () => t("notFound"), content: el("div", {}, el("h1", { tabindex: "-1" }, t("notFound")), hint) };
}

/** @returns {Page} */
function currentPage() {
  if (isTokenNeeded.value) return loginPage();
  pageKey.value;
  return untracked(() => {
    const { pattern, make } = currentPattern();
    const view = computed(() => match(pattern, route.value.path)?.view ?? "");
    const parameters = match(pattern, route.value.path) ?? {};
    return make({ socket, parameters, view: () => view.value, filters: () => route.value.filters });
  });
}

function currentPattern() {
  for (const [pattern, make] of PAGES) if (match(pattern, route.value.path) !== null) return { pattern, make };
  return { pattern: "", make: missingPage };
}

/** A page lives as long as its path; its view and its filters may change meanwhile. */
const pageKey = computed(() => {
  const { pattern } = currentPattern();
  const parameters = match(pattern, route.value.path);
  if (parameters === null) return pathKey.value;
  const { view: _view, ...own } = parameters;
  return JSON.stringify([pattern, own]);
});
const pathKey = computed(() => JSON.stringify(route.value.path));

function navigation() {
  const link = (/** @type {string[]} */ path, /** @type {import("./lib/view.js").Child[]} */ ...words) => {
    return el("li", {}, el("a", { href: href(path), "aria-current": () => nearness(path) }, ...words));
  };
  const links = [
    link([], t("home")),
    link(["runs"], t("runs")),
    link(["workflows"], t("workflows")),
    link(["approvals"], t("approvals"), () => waiting() === 0 ? null : verbatim(` (${waiting()})`)),
    link(["triggers"], t("triggers")),
    link(["usage"], t("usageTitle")),
    link(["files"], t("files")),
    link(["nodes"], t("nodeTypes")),
    link(["system"], t("system")),
  ];
  return el("nav", { "aria-label": t("navigation") }, el("ul", {}, ...links));
}

/** Pages behind a link of the navigation that begin with another word. */
const BEHIND = new Map([["run", "runs"], ["start", "workflows"]]);

/**
 * Is the page that of a link in the navigation, or behind it?
 * @param {readonly string[]} path
 */
function nearness(path) {
  if (pathKey.value === JSON.stringify(path)) return "page";
  const [first = ""] = JSON.parse(pathKey.value);
  return path.length > 0 && path[0] === (BEHIND.get(first) ?? first) ? "true" : null;
}

/** How many approvals wait for an answer. */
function waiting() {
  return openCount.value?.open ?? 0;
}

function languageChoice() {
  const options = Object.entries(LANGUAGES).map(([tag, own]) =>
    el("option", { value: tag, lang: tag, selected: tag === language.peek() }, verbatim(own))
  );
  const select = el("select", { id: "language", "aria-label": t("language") }, ...options);
  select.addEventListener("change", () => chooseLanguage(/** @type {Language} */ (select.value)));
  return select;
}

function banner() {
  const now = signal(Date.now());
  const timer = setInterval(() => (now.value = Date.now()), 1000);
  onEnd(() => clearInterval(timer));
  const age = () => {
    const milliseconds = Math.max(100, now.value - socket.lostAt.value);
    return el("span", { class: "age" }, t("awayAge", { age: duration(milliseconds) }));
  };
  const sentence = () => {
    if (socket.state.value === "refused" && !isTokenNeeded.value) return el("p", { class: "banner" }, t("refused"));
    return socket.state.value === "away" ? el("p", { class: "banner" }, t("away")) : null;
  };
  const reload = el("button", { type: "button", on: { click: () => location.reload() } }, t("reloadPage"));
  const older = () => isOutdated.value ? [el("p", { class: "banner" }, t("newerGateway")), reload] : null;
  // Outside of what is read aloud: it changes every second.
  const beside = () => (socket.state.value === "away" ? age() : null);
  const role = () => (socket.state.value === "away" ? "region" : null);
  const attributes = { class: "banner-place", role, "aria-label": () => role() === null ? null : t("connection") };
  return el("div", attributes, el("div", { role: "status" }, sentence, older), beside);
}

/** The page around the pages; made anew when the language changes. */
function shell() {
  const main = el("main", { id: "content" });
  let isFirst = true;
  effect(() => {
    const page = currentPage();
    main.replaceChildren(page.content);
    effect(() => {
      document.title = `${waiting() === 0 ? "" : `(${waiting()}) `}${page.title()} · ${t("title")}`;
    });
    // Whoever hears the page must hear that it is another one now.
    if (!isFirst) main.querySelector("h1")?.focus();
    isFirst = false;
  });
  const skip = el("a", { class: "skip", href: "#content" }, t("skip"));
  skip.addEventListener("click", (event) => {
    event.preventDefault(); // the part behind # is the route
    main.querySelector("h1")?.focus();
  });
  const brand = el("a", { class: "brand", href: href([]) }, t("title"));
  return [skip, el("header", {}, brand, navigation(), languageChoice()), banner(), main];
}

function help() {
  const words = [
    t("shortcutHome"),
    t("shortcutRuns"),
    t("shortcutWorkflows"),
    t("shortcutApprovals"),
    t("shortcutTriggers"),
    t("shortcutUsage"),
    t("shortcutFiles"),
    t("shortcutNodes"),
    t("shortcutSystem"),
    t("shortcutHelp"),
  ];
  const lines = words.map((line) => el("li", {}, line));
  openDialog(t("shortcuts"), [el("ul", {}, ...lines)]);
}

await startWords();
startRouter();
followOpenApprovals(socket);
followVersion(socket);
effect(() => {
  language.value;
  const focused = document.activeElement?.id ?? "";
  document.body.replaceChildren(...untracked(() => shell()));
  document.getElementById(focused)?.focus(); // the choice of the language, as a rule
});
effect(() => {
  if (!isTokenNeeded.value) untracked(() => socket.connect());
});
addEventListener("online", () => socket.connect());
addEventListener("offline", () => socket.offline());
bindKeys({
  "g h": () => go([]),
  "g r": () => go(["runs"]),
  "g w": () => go(["workflows"]),
  "g a": () => go(["approvals"]),
  "g t": () => go(["triggers"]),
  "g u": () => go(["usage"]),
  "g f": () => go(["files"]),
  "g n": () => go(["nodes"]),
  "g s": () => go(["system"]),
  "?": help,
});
