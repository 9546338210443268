/** The box of a node: what stands in it (pure), and how it is drawn. Far away it has no text, only colour and sign. */

import { name } from "../lib/format.js";
import { stateSign, stateWord } from "../lib/state.js";
import { t } from "../lib/words.js";
import { NODE_HEIGHT, NODE_WIDTH } from "./document.js";

/** @typedef {import("./document.js").GraphNode} GraphNode */
/** @typedef {import("../run/store.js").NodeShown} NodeShown */
/** @typedef {{ cost: number, currency: string }} Cost */
/**
 * What a box says. `sign`, `word` and `colour` are those of its state; without a colour it stays behind the others.
 * `tail`: the end of what it streams. `part`: how much of it is done, from 0 to 1.
 * @typedef {{
 *   title: string, type: string, sign: string, word: string, colour: Token | null, badges: string, tail: string,
 *   part: number | null,
 * }} Face
 */
/** Names of the tokens in main.css. @typedef {"ground" | "surface" | "ink" | "quiet" | "line" | "focus" | "good" | "bad" | "busy" | "wait"} Token */
/** @typedef {Readonly<Record<Token, string>>} Colours */
/** @typedef {CanvasRenderingContext2D} Pen */

/** @type {readonly Token[]} */
export const TOKENS = ["ground", "surface", "ink", "quiet", "line", "focus", "good", "bad", "busy", "wait"];

/** @type {ReadonlyMap<string, Token>} */
const COLOURS = new Map([
  ["complete", "good"],
  ["error", "bad"],
  ["running", "busy"],
  ["interrupting", "busy"],
  ["waiting", "wait"],
  ["paused", "wait"],
]);
const FAMILY = 'system-ui, "Noto Sans", "Noto Sans CJK SC", sans-serif';
const FONT = { title: `600 14px ${FAMILY}`, small: `12px ${FAMILY}`, sign: `64px ${FAMILY}` };
const PADDING = 12;
const TEXT_WIDTH = NODE_WIDTH - 2 * PADDING;
const TAIL = { characters: 160, lines: 2, height: 15 };
const MOST_FITTED = 5000;
/** A name may be a megabyte long. */
const MOST_CHARACTERS = 200;

/**
 * @param {GraphNode} node
 * @param {NodeShown} shown
 * @param {Cost | null} [cost]
 * @returns {Face}
 */
export function faceOf(node, { state, stream }, cost = null) {
  const status = state.status ?? "pending";
  const attempts = state.attempts ?? 1;
  const { progress } = state;
  const badges = [
    state.reused ? t("reused") : null,
    state.cached ? t("fromCache") : null,
    attempts > 1 ? `\u00d7${attempts}` : null,
    progress ? t("progress", progress) : null,
    cost === null ? null : `${cost.cost.toPrecision(2)} ${cost.currency}`,
  ];
  return {
    title: name(node.title.slice(0, MOST_CHARACTERS)),
    type: name(node.type.replace(/^core:/, "").slice(0, MOST_CHARACTERS)),
    sign: stateSign(status),
    word: stateWord(status),
    colour: COLOURS.get(status) ?? null,
    badges: badges.filter((badge) => badge !== null).join(" \u00b7 "),
    tail: tailOf(stream?.text ?? ""),
    part: progress && progress.max > 0 ? Math.min(1, Math.max(0, progress.value / progress.max)) : null,
  };
}

/** The end of a text, without what would hide or turn it. @param {string} text */
export function tailOf(text) {
  const end = text.slice(-TAIL.characters).replace(/^[\udc00-\udfff]/, "").trimEnd();
  return end.split(/\r\n|[\r\n]/).filter((line) => line.trim() !== "").slice(-TAIL.lines).map(name).join("\n");
}

/**
 * A box with its texts.
 * @param {Pen} pen In the graph's own units.
 * @param {GraphNode} node
 * @param {Face} face
 * @param {Colours} colours
 */
export function drawNear(pen, node, face, colours) {
  const colour = colours[face.colour ?? "quiet"];
  drawFrame(pen, node, colours);
  pen.fillStyle = colour;
  pen.fillRect(node.x, node.y + 8, 4, NODE_HEIGHT - 16);
  const [left, top] = [node.x + PADDING, node.y + PADDING];
  write(pen, face.title, { font: FONT.title, fill: colours.ink, x: left, y: top + 10 });
  write(pen, face.type, { font: FONT.small, fill: colours.quiet, x: left, y: top + 26 });
  const state = `${face.sign} ${face.word}`;
  write(pen, face.badges === "" ? state : `${state} \u00b7 ${face.badges}`, {
    font: FONT.small,
    fill: colour,
    x: left,
    y: top + 44,
  });
  if (face.part !== null) drawPart(pen, node, face.part, colours);
  if (face.tail !== "") drawTail(pen, face.tail, { font: FONT.small, fill: colours.ink, x: left, y: top + 62 });
}

/** @param {Pen} pen @param {GraphNode} node @param {Colours} colours */
function drawFrame(pen, node, colours) {
  pen.strokeStyle = colours.line;
  pen.lineWidth = 1;
  pen.fillStyle = colours.surface;
  // What can be entered lies on others.
  for (const offset of node.kind === "node" ? [0] : [6, 3, 0]) {
    pen.beginPath();
    pen.roundRect(node.x + offset, node.y + offset, NODE_WIDTH, NODE_HEIGHT, 8);
    pen.fill();
    pen.stroke();
  }
}

/** @param {Pen} pen @param {GraphNode} node @param {number} part @param {Colours} colours */
function drawPart(pen, node, part, colours) {
  const y = node.y + NODE_HEIGHT - 6;
  pen.fillStyle = colours.line;
  pen.fillRect(node.x + PADDING, y, TEXT_WIDTH, 3);
  pen.fillStyle = colours.busy;
  pen.fillRect(node.x + PADDING, y, TEXT_WIDTH * part, 3);
}

/** @typedef {{ font: string, fill: string, x: number, y: number }} Writing */

/** @param {Pen} pen @param {string} text @param {Writing} how */
function write(pen, text, { font, fill, x, y }) {
  pen.font = font;
  pen.fillStyle = fill;
  pen.fillText(fittedText(pen, font, text), x, y);
}

/** The last lines that find room, broken where they are full. @param {Pen} pen @param {string} tail @param {Writing} how */
function drawTail(pen, tail, { font, fill, x, y }) {
  pen.font = font;
  pen.fillStyle = fill;
  const lines = tail.split("\n").flatMap((line) => broken(pen, line)).slice(-TAIL.lines);
  lines.forEach((line, at) => pen.fillText(line, x, y + at * TAIL.height));
}

/** @param {Pen} pen @param {string} line @returns {string[]} */
function broken(pen, line) {
  /** @type {string[]} */
  const lines = [];
  let rest = line;
  while (rest !== "" && lines.length < 12) {
    let end = fittingLength(pen, rest);
    const space = rest.lastIndexOf(" ", end);
    if (end < rest.length && space > end / 2) end = space;
    lines.push(rest.slice(0, end));
    rest = rest.slice(end).trimStart();
  }
  return lines;
}

/** Texts by font that were cut to the width of a box: measuring costs more than drawing. @type {Map<string, string>} */
const fittedTexts = new Map();

/** @param {Pen} pen @param {string} font The pen has it. @param {string} text */
function fittedText(pen, font, text) {
  const key = `${font}|${text}`;
  const known = fittedTexts.get(key);
  if (known !== undefined) return known;
  if (fittedTexts.size > MOST_FITTED) fittedTexts.clear();
  const length = fittingLength(pen, text);
  const fitted = length === text.length ? text : `${text.slice(0, Math.max(0, length - 1))}\u2026`;
  fittedTexts.set(key, fitted);
  return fitted;
}

/** How many characters find room in a line; at least one. @param {Pen} pen @param {string} text */
function fittingLength(pen, text) {
  const most = Math.min(text.length, MOST_CHARACTERS);
  if (pen.measureText(text.slice(0, most)).width <= TEXT_WIDTH) return most;
  let [low, high] = [1, most];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (pen.measureText(text.slice(0, middle)).width <= TEXT_WIDTH) low = middle;
    else high = middle;
  }
  return low;
}

/**
 * Boxes without texts: one path for all of a state, and its sign while there is room for it.
 * @param {Pen} pen
 * @param {readonly GraphNode[]} nodes
 * @param {(node: GraphNode) => Face} faceOf
 * @param {{ colours: Colours, hasSigns: boolean }} how
 */
export function drawFar(pen, nodes, faceOf, { colours, hasSigns }) {
  /** @type {Map<string, { face: Face, alike: GraphNode[] }>} */
  const kinds = new Map();
  for (const node of nodes) {
    const face = faceOf(node);
    const key = `${face.colour} ${face.sign}`;
    const kind = kinds.get(key);
    if (kind === undefined) kinds.set(key, { face, alike: [node] });
    else kind.alike.push(node);
  }
  for (const { face: { colour, sign }, alike } of kinds.values()) {
    pen.fillStyle = colours[colour ?? "line"];
    pen.beginPath();
    for (const { x, y } of alike) pen.rect(x, y, NODE_WIDTH, NODE_HEIGHT);
    pen.fill();
    pen.fillStyle = colour === null ? colours.ink : colours.surface;
    if (hasSigns) drawSigns(pen, alike, sign);
  }
}

/** @param {Pen} pen @param {readonly GraphNode[]} nodes @param {string} sign */
function drawSigns(pen, nodes, sign) {
  pen.font = FONT.sign;
  pen.textAlign = "center";
  for (const { x, y } of nodes) pen.fillText(sign, x + NODE_WIDTH / 2, y + NODE_HEIGHT / 2 + 23);
  pen.textAlign = "start";
}
