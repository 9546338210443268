/** A server that answers as the gateway does, and the waiting that goes with it. */
import { strict as assert } from "node:assert";

/** @typedef {{ type: string, payload: Record<string, unknown> }} Message */
/** @typedef {(socket: WebSocket, message: Message, connection: number) => void} Answer */
/** @typedef {{ url: URL, asked: Message[], addresses: string[] }} Served */

/**
 * @param {Answer} answer To what comes over a socket.
 * @param {(served: Served) => Promise<void>} use
 * @param {(path: string) => unknown} [body] Of the answer to a request, or the whole `Response`; now or later.
 */
export async function serving(answer, use, body = () => ({})) {
  /** @type {Message[]} */
  const asked = [];
  /** @type {string[]} */
  const addresses = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const address = new URL(request.url);
    if (address.pathname !== "/ws") {
      const given = await body(address.pathname);
      return given instanceof Response ? given : Response.json(given);
    }
    addresses.push(address.search);
    const { socket, response } = Deno.upgradeWebSocket(request);
    const connection = addresses.length;
    socket.onmessage = (event) => {
      const message = JSON.parse(event.data);
      asked.push(message);
      answer(socket, message, connection);
    };
    return response;
  });
  try {
    await use({ url: new URL(`ws://127.0.0.1:${server.addr.port}/ws`), asked, addresses });
  } finally {
    await server.shutdown();
  }
}

/** @param {() => boolean} isTrue */
export async function until(isTrue) {
  for (let waited = 0; !isTrue(); waited += 5) {
    assert.ok(waited < 8000, "it did not happen");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/**
 * A message of the gateway itself.
 * @param {string} type
 * @param {Record<string, unknown>} payload
 */
export function notice(type, payload) {
  return JSON.stringify({ seq: null, ts: 0, type, payload: { promptId: "r", ...payload } });
}
