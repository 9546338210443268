// Answers that are none: of a proxy, of a gateway that dies in the middle of one; and numbers that a browser rounds.
import { strict as assert } from "node:assert";
import { change, GatewayAway, GatewayError, getJson, isPassing } from "../../gateway/console/api/rest.js";
import { json } from "../../gateway/console/lib/format.js";
import { parseJson } from "../../gateway/console/lib/json.js";
import { eventPage } from "../../gateway/console/run/event_pages.js";
import { serving } from "./serving.js";

/**
 * @param {Record<string, () => Response>} answers By path.
 * @param {() => Promise<void>} use
 */
async function answering(answers, use) {
  const body = (/** @type {string} */ path) => answers[path]?.() ?? {};
  await serving(() => {}, async ({ url }) => {
    const baseURI = url.href.replace("ws:", "http:").replace(/ws$/, "");
    Object.assign(globalThis, { document: { baseURI }, sessionStorage });
    await use();
  }, body);
}

/**
 * A gateway that is killed in the middle of each answer.
 * @param {string} begin Of the body.
 * @param {() => Promise<void>} use
 */
async function dying(begin, use) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const answering = (async () => {
    for await (const connection of listener) {
      await connection.read(new Uint8Array(4096));
      await connection.write(new TextEncoder().encode(`HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n${begin}`));
      connection.close();
    }
  })();
  Object.assign(globalThis, { document: { baseURI: `http://127.0.0.1:${listener.addr.port}/` }, sessionStorage });
  try {
    await use();
  } finally {
    listener.close();
    await answering;
  }
}

const page = (/** @type {number} */ status) => new Response("<html>Please log in</html>", { status });

Deno.test("what is no answer of the gateway is an error of ours, and is tried again where that helps", async () => {
  const answers = {
    "/login": () => page(200),
    "/broken": () => page(500),
    "/nobody": () => page(502),
    "/busy": () => Response.json({ error: "slower", code: "too_many_waiting_runs" }, { status: 429 }),
    "/missing": () => Response.json({ error: "no", code: "not_found" }, { status: 404 }),
  };
  await answering(answers, async () => {
    /** @param {Promise<unknown>} asked */
    const said = async (asked) => {
      const error = await asked.then(() => null, (error) => error);
      assert.ok(error instanceof GatewayAway || error instanceof GatewayError, String(error));
      return `${error.constructor.name} ${"code" in error ? error.code : ""} ${isPassing(error)}`;
    };
    assert.equal(await said(getJson("login")), "GatewayAway  true");
    assert.equal(await said(change("POST", "login")), "GatewayAway  true");
    assert.equal(await said(getJson("broken")), "GatewayError http_error true");
    assert.equal(await said(getJson("nobody")), "GatewayAway  true");
    assert.equal(await said(getJson("busy")), "GatewayError too_many_waiting_runs true");
    assert.equal(await said(getJson("missing")), "GatewayError not_found false");
  });
});

Deno.test("an answer in the middle of which the gateway dies is none", async () => {
  const { signal } = new AbortController();
  await dying('{"runs": [', () => assert.rejects(getJson("api/runs"), GatewayAway));
  const page = () => eventPage("r", { after: 0, upTo: 9, type: "", limit: 9, signal });
  await dying('data: {"seq":1}\n\n', () => assert.rejects(page(), GatewayAway));
});

Deno.test("whole numbers keep their digits, whatever their length, and other values are what they were", () => {
  const text =
    '{"n":9007199254740993,"m":[-12345678901234567890],"f":0.30000000000000004,"t":"9007199254740993","ts":1764432000000}';
  const value = parseJson(text);
  assert.equal(JSON.stringify(value), text);
  assert.equal(String(value.n), "9007199254740993");
  assert.equal(json(value.n), "9007199254740993");
  assert.deepEqual([value.f, value.t, value.ts], [0.30000000000000004, "9007199254740993", 1764432000000]);
  const hostile = parseJson('{"__proto__":{"n":9007199254740993}}');
  assert.deepEqual(Object.keys(hostile), ["__proto__"]);
});
