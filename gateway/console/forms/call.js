/** The same submission from a shell and from Python. Pure. */

/**
 * @typedef {{
 *   url: string,
 *   hasToken: boolean,
 *   workflowId: string,
 *   project: string,
 *   version: number | null,
 *   inputs: ReadonlyMap<string, unknown>,
 *   secrets: readonly string[],
 * }} Call `url`: of the gateway, without `/` at its end. `secrets`: inputs whose values are not shown.
 */

const TOKEN = "INNKEEPER_ACCESS_TOKEN";

/**
 * What is sent to `POST /api/prompt`.
 * @param {Omit<Call, "url" | "hasToken" | "secrets">} call
 */
export function bodyOf({ workflowId, project, version, inputs }) {
  return {
    workflowId,
    ...(project === "" ? {} : { projectId: project }),
    ...(version === null ? {} : { version }),
    ...(inputs.size === 0 ? {} : { inputs: Object.fromEntries(inputs) }),
  };
}

/**
 * @param {string} key
 * @returns {string} Stands for a secret that somebody else has to fill in.
 */
function placeholder(key) {
  return `<${key}>`;
}

/** @param {Call} call */
function shownInputs({ inputs, secrets }) {
  return new Map([...inputs].map(([key, value]) => [key, secrets.includes(key) ? placeholder(key) : value]));
}

/**
 * What a terminal obeys, or what would make a program look like another one, as JSON and Python both escape it.
 * Control characters below the space are escaped already.
 */
const DOUBTFUL = /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** A JSON value on one line, of which everything is seen. @param {unknown} value */
function jsonOf(value) {
  return JSON.stringify(value).replace(DOUBTFUL, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** @param {Call} call */
export function curlOf(call) {
  const body = jsonOf(bodyOf({ ...call, inputs: shownInputs(call) }));
  const token = call.hasToken ? [`-H "Authorization: Bearer $${TOKEN}"`] : [];
  const lines = [
    `curl -s ${quoted(`${call.url}/api/prompt`)}`,
    ...token,
    "-H 'Content-Type: application/json'",
    `-d ${quoted(body)}`,
  ];
  return lines.join(" \\\n    ");
}

/** One word of a POSIX shell. @param {string} text */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** @param {Call} call */
export function pythonOf(call) {
  const inputs = shownInputs(call);
  const options = [
    `workflow_id=${python(call.workflowId)}`,
    ...(call.project === "" ? [] : [`project=${python(call.project)}`]),
    ...(call.version === null ? [] : [`version=${call.version}`]),
    ...(inputs.size === 0 ? [] : [`inputs=${python(Object.fromEntries(inputs))}`]),
  ];
  const token = call.hasToken ? `, os.environ["${TOKEN}"]` : "";
  return `${call.hasToken ? "import asyncio\nimport os" : "import asyncio"}

from innkeeper import GatewayClient


async def main() -> None:
    async with GatewayClient(${python(call.url)}${token}) as client:
        run = await client.submit(
            ${options.join(",\n            ")},
        )
        print((await client.wait(run))["outputs"])


asyncio.run(main())
`;
}

/**
 * A JSON value as Python writes it.
 * @param {unknown} value
 * @returns {string}
 */
function python(value) {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value !== "object") return jsonOf(value);
  return `{${Object.entries(value).map(([key, item]) => `${python(key)}: ${python(item)}`).join(", ")}}`;
}
