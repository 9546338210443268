/** What a page is: made for one path, shown until the path changes. Its effects end with it. */

/** @typedef {import("../lib/view.js").Shown} Shown */
/**
 * @typedef {{
 *   socket: import("../api/socket.js").GatewaySocket,
 *   parameters: Readonly<Record<string, string>>,
 *   filters: () => Readonly<Record<string, string>>,
 * }} PageContext
 */
/** `title` stands in the tab; the content begins with an `h1`. @typedef {{ title: () => Shown, content: Element }} Page */
/** @typedef {(context: PageContext) => Page} MakePage */

export {};
