/** Plugins: what each adds or why it was not loaded; turned on and off, and loaded anew. */

import { change, getJson } from "../api/rest.js";
import { complaintPlace } from "../lib/complaint.js";
import { openDialog } from "../lib/dialog.js";
import { name } from "../lib/format.js";
import { loadingHint } from "../lib/loading.js";
import { href } from "../lib/router.js";
import { badge } from "../lib/state.js";
import { each, el, signal, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { loadingCatalogue } from "./catalogue.js";

/**
 * A plugin, or why it was not loaded.
 * @typedef {{
 *   name: string, displayName: string, version: string, description?: string, isEnabled: boolean, loaded: boolean,
 *   nodes: string[], file?: string, reason?: string, errors?: { file: string, reason: string }[], warnings?: string[],
 * }} Plugin
 */
/** @typedef {import("../lib/view.js").Readable<Plugin>} ReadablePlugin */

/** @param {import("../api/socket.js").GatewaySocket} socket */
export function pluginList(socket) {
  /** @type {import("../lib/loading.js").Loaded<readonly Plugin[]>} */
  const loaded = loadingCatalogue(socket, () => getJson("api/plugins"));
  const plugins = loaded.value;
  const told = signal(verbatim(""));
  const isBusy = signal(false);
  const { attempt, place } = complaintPlace();
  const ask = async (/** @type {string} */ method, /** @type {string} */ path, /** @type {unknown} */ body) => {
    isBusy.value = true;
    await attempt(async () => {
      /** @type {{ message: string } | null} */
      const answer = await change(method, path, body === undefined ? {} : { body });
      told.value = verbatim(answer?.message ?? "");
    });
    await loaded.reload();
    isBusy.value = false;
  };
  const turn = async (/** @type {Plugin} */ plugin) => {
    const hint = el("p", {}, t("turnOffHint"));
    const title = t("turnOffWhat", { name: name(plugin.displayName) });
    if (plugin.isEnabled && !await openDialog(title, [hint], { action: t("turnOff") })) return;
    await ask("PUT", `api/plugins/${encodeURIComponent(plugin.name)}/state`, { enabled: !plugin.isEnabled });
  };
  const reload = () => ask("POST", "api/nodes/reload", undefined);
  const rows = each(() => plugins.value ?? [], (plugin) => plugin.name, (plugin) => row(plugin, turn, isBusy));
  return el(
    "section",
    { "aria-label": t("plugins") },
    el("h2", {}, t("plugins")),
    loadingHint(loaded),
    el("ul", { class: "plugins" }, rows),
    () => plugins.value?.length === 0 ? el("p", { class: "quiet" }, t("noPlugins")) : null,
    el(
      "div",
      { class: "actions" },
      el("button", { type: "button", disabled: () => isBusy.value, on: { click: reload } }, t("reloadPlugins")),
      el("p", { class: "quiet", role: "status" }, told),
      place,
    ),
  );
}

/** @param {Plugin} plugin */
function stateOf({ isEnabled, loaded }) {
  if (!isEnabled) return badge("interrupted", t("pluginOff"));
  return loaded ? badge("complete", t("pluginLoaded")) : badge("error", t("pluginFailed"));
}

/**
 * @param {ReadablePlugin} plugin
 * @param {(plugin: Plugin) => void} turn
 * @param {import("../lib/view.js").Readable<boolean>} isBusy
 */
function row(plugin, turn, isBusy) {
  const shown = () => name(plugin.value.displayName);
  const word = () => plugin.value.isEnabled ? t("turnOff") : t("turnOn");
  const label = () => verbatim(`${word()} ${shown()}`);
  const attributes = { type: "button", "aria-label": label, disabled: () => isBusy.value };
  return el(
    "li",
    { class: "plugin-row" },
    () => stateOf(plugin.value),
    el(
      "div",
      {},
      el("h3", {}, el("bdi", {}, shown), verbatim(" "), el("code", {}, () => name(plugin.value.version))),
      el("p", { class: "quiet" }, () => verbatim(plugin.value.description ?? "")),
      () => faults(plugin.value),
      () => nodesOf(plugin.value),
    ),
    el("button", { ...attributes, on: { click: () => turn(plugin.peek()) } }, word),
  );
}

/** @param {Plugin} plugin */
function faults({ file, reason, errors, warnings = [] }) {
  const all = errors ?? (reason === undefined ? [] : [{ file: file ?? "", reason }]);
  return [
    ...all.map((error) => el("p", { class: "error" }, el("code", {}, name(error.file)), verbatim(` ${error.reason}`))),
    ...warnings.map((warning) => el("p", { class: "warning" }, verbatim(warning))),
  ];
}

/** @param {Plugin} plugin */
function nodesOf({ nodes }) {
  if (nodes.length === 0) return null;
  const links = nodes.map((type) => el("li", {}, el("a", { href: href(["nodes", type]) }, name(type))));
  return el("ul", { class: "facts", "aria-label": t("nodeTypes") }, ...links);
}
