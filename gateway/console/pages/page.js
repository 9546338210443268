/**
 * What a page is: made for one path, shown until the path changes. Its effects end with it. `:view?` at the end of a
 * pattern is what of the page is shown: it may change while the page lives.
 */

/** @typedef {import("../lib/view.js").Shown} Shown */
/**
 * @typedef {{
 *   socket: import("../api/socket.js").GatewaySocket,
 *   parameters: Readonly<Record<string, string>>,
 *   view: () => string,
 *   filters: () => Readonly<Record<string, string>>,
 * }} PageContext
 */
/** `title` stands in the tab; the content begins with an `h1`. @typedef {{ title: () => Shown, content: Element }} Page */
/** @typedef {(context: PageContext) => Page} MakePage */

export {};
