// The page as a whole: what it loads.
import { strict as assert } from "node:assert";

const CONSOLE = new URL("../../gateway/console/", import.meta.url);

/** All modules that one imports, and those that they import. @param {string} name @returns {Set<string>} */
function imported(name) {
  const found = new Set(/** @type {string[]} */ ([]));
  const look = (/** @type {URL} */ module) => {
    const source = Deno.readTextFileSync(module);
    for (const [, path] of source.matchAll(/^(?:import|export)\s[^;]*?\sfrom "([^"]+)"/gm)) {
      const place = new URL(path ?? "", module);
      const inner = place.pathname.slice(CONSOLE.pathname.length);
      if (found.has(inner)) continue;
      found.add(inner);
      look(place);
    }
  };
  look(new URL(name, CONSOLE));
  return found;
}

Deno.test("the browser is told of every module at once, and of none that it does not need", () => {
  const page = Deno.readTextFileSync(new URL("index.html", CONSOLE));
  const told = [...page.matchAll(/rel="modulepreload" href="console\/([^"]+)"/g)].map(([, name]) => name);
  assert.deepEqual(told, [...imported("main.js")].sort());
});
