// Which module of the page takes what of which, as tests/test_import_rules.py says it of Python.
import { strict as assert } from "node:assert";

const CONSOLE = new URL("../../gateway/console/", import.meta.url);

/**
 * What the modules of a folder may import. `lib` and `api` are one floor: tools, and the way to the gateway.
 * @type {ReadonlyMap<string, readonly string[]>}
 */
const ARROWS = new Map(Object.entries({
  words: [],
  lib: ["lib", "api", "words"],
  api: ["api", "lib"],
  run: ["run", "lib", "api"],
  graph: ["graph", "lib"],
  forms: ["forms", "lib", "api"],
  library: ["library", "graph", "lib", "api"],
  pages: ["pages", "forms", "graph", "library", "run", "lib", "api"],
}));
const IMPURE =
  /\b(fetch\(|document\.\w+\(|localStorage|sessionStorage|setTimeout|setInterval|WebSocket|new Date\(\)|Date\.now)/;

/** @param {URL} folder @returns {Generator<URL>} */
function* scripts(folder) {
  for (const entry of Deno.readDirSync(folder)) {
    const place = new URL(entry.name + (entry.isDirectory ? "/" : ""), folder);
    if (entry.isDirectory) yield* scripts(place);
    else if (entry.name.endsWith(".js")) yield place;
  }
}

/** @param {URL} place */
function nameOf(place) {
  return place.pathname.slice(CONSOLE.pathname.length);
}

/** Name to text. */
const SOURCES = new Map([...scripts(CONSOLE)].map((place) => [nameOf(place), Deno.readTextFileSync(place)]));

/**
 * The modules that one imports. Types are not meant: only `deno check` reads them.
 * @param {string} name
 */
function importsOf(name) {
  const found = (SOURCES.get(name) ?? "").matchAll(/^(?:import|export)\s[^;]*?\sfrom "([^"]+)"/gm);
  return [...found].map(([, path]) => nameOf(new URL(path ?? "", new URL(name, CONSOLE))));
}

/** @param {string} name */
function folderOf(name) {
  return name.slice(0, Math.max(0, name.indexOf("/")));
}

/** @param {string} from @param {string} to */
function isAllowed(from, to) {
  return folderOf(from) === "" || ARROWS.get(folderOf(from))?.includes(folderOf(to)) === true;
}

Deno.test("folders import only what stands below them", () => {
  for (const name of SOURCES.keys()) {
    assert.deepEqual(importsOf(name).filter((other) => !isAllowed(name, other)), [], name);
  }
  assert.ok(importsOf("pages/run.js").includes("run/store.js"), "imports are found");
  assert.ok(!isAllowed("lib/view.js", "pages/run.js"));
  assert.ok(!isAllowed("graph/list.js", "run/store.js"));
});

Deno.test("no module imports itself through others", () => {
  const done = new Set(/** @type {string[]} */ ([]));
  const visit = (/** @type {string} */ name, /** @type {readonly string[]} */ way) => {
    assert.ok(!way.includes(name), [...way, name].join(" -> "));
    if (!done.has(name)) importsOf(name).forEach((other) => visit(other, [...way, name]));
    done.add(name);
  };
  for (const name of SOURCES.keys()) visit(name, []);
});

Deno.test("the browser is told of every module at once, and of none that it does not need", () => {
  const loaded = new Set(["main.js"]);
  for (const name of loaded) importsOf(name).forEach((other) => loaded.add(other));
  const page = Deno.readTextFileSync(new URL("index.html", CONSOLE));
  const told = [...page.matchAll(/rel="modulepreload" href="console\/([^"]+)"/g)].map(([, name]) => name);
  assert.deepEqual(["main.js", ...told], ["main.js", ...[...loaded].slice(1).sort()]);
  // The one holds only types, the other is loaded for those who read it.
  assert.deepEqual([...SOURCES.keys()].filter((name) => !loaded.has(name)).sort(), [
    "pages/page.js",
    "words/zh-CN.js",
  ]);
});

Deno.test("what is said to be pure asks nobody, reads no clock and touches no page", () => {
  const pure = [...SOURCES].filter(([, text]) => /^\/\*\*[^/]*(: pure\.|\bPure\. ?\*)/.test(text));
  assert.ok(pure.length >= 8, String(pure.length));
  for (const [name, text] of pure) {
    const impure = importsOf(name).filter((other) => other === "api/rest.js" || other === "lib/view.js");
    assert.deepEqual([...impure, ...(IMPURE.exec(text) ?? []).slice(0, 1)], [], name);
  }
});

Deno.test("what a module gives to others, others take", () => {
  const here = new URL(".", import.meta.url);
  const tests = [...Deno.readDirSync(here)].filter(({ name }) => /\.(js|py)$/.test(name))
    .map(({ name }) => Deno.readTextFileSync(new URL(name, here)));
  for (const [name, text] of SOURCES) {
    const others = [...SOURCES].flatMap(([other, source]) => other === name ? [] : [source]).concat(tests).join("\n");
    const given = [...text.matchAll(/^export (?:async )?(?:function\*?|class|const|let) (\w+)/gm)].map(([, one]) =>
      one
    );
    assert.deepEqual(given.filter((one) => !new RegExp(`\\b${one}\\b`).test(others)), [], name);
  }
});
