/** All of a graph in a corner, with a frame around what is in view. A drag of the frame moves the view. */

import { el } from "../lib/view.js";
import { NODE_HEIGHT, NODE_WIDTH } from "./document.js";

/** @typedef {import("./camera.js").Box} Box */
/** @typedef {import("./camera.js").Point} Point */
/** @typedef {import("./document.js").GraphNode} GraphNode */
/** @typedef {import("./node.js").Colours} Colours */
/** @typedef {import("./node.js").Face} Face */
/** @typedef {{ scale: number, x: number, y: number }} Place */

const WIDTH = 180;
const HEIGHT = 110;
const LEAST_DOT = 2;

/**
 * @param {Box} box Of the whole graph.
 * @returns {Place} The graph's place in the map.
 */
export function placed(box) {
  const [width, height] = [Math.max(1, box.right - box.left), Math.max(1, box.bottom - box.top)];
  const scale = Math.min(WIDTH / width, HEIGHT / height);
  return {
    scale,
    x: (WIDTH - width * scale) / 2 - box.left * scale,
    y: (HEIGHT - height * scale) / 2 - box.top * scale,
  };
}

export class Minimap {
  element;
  /** The map without the frame: drawn only when a state changed. */
  #nodes = el("canvas", { width: WIDTH, height: HEIGHT });
  /** @type {Place} */
  #place = { scale: 1, x: 0, y: 0 };

  /** @param {(middle: Point) => void} look Called with the point of the graph that somebody wants in the middle. */
  constructor(look) {
    const go = (/** @type {PointerEvent} */ event) => {
      const { scale, x, y } = this.#place;
      look({ x: (event.offsetX - x) / scale, y: (event.offsetY - y) / scale });
    };
    const down = (/** @type {PointerEvent} */ event) => {
      this.element.setPointerCapture(event.pointerId);
      go(event);
    };
    const move = (/** @type {PointerEvent} */ event) => event.buttons > 0 && go(event);
    const on = { pointerdown: down, pointermove: move };
    this.element = el("canvas", { class: "minimap", width: WIDTH, height: HEIGHT, "aria-hidden": "true", on });
  }

  /**
   * @param {readonly GraphNode[]} nodes
   * @param {{ box: Box, faceOf: (node: GraphNode) => Face, colours: Colours }} how
   */
  drawNodes(nodes, { box, faceOf, colours }) {
    this.#place = placed(box);
    const { scale, x, y } = this.#place;
    const pen = this.#nodes.getContext("2d");
    if (pen === null) return;
    pen.clearRect(0, 0, WIDTH, HEIGHT);
    const [width, height] = [NODE_WIDTH, NODE_HEIGHT].map((length) => Math.max(LEAST_DOT, length * scale));
    for (const node of nodes) {
      pen.fillStyle = colours[faceOf(node).colour ?? "line"];
      pen.fillRect(node.x * scale + x, node.y * scale + y, width ?? 0, height ?? 0);
    }
  }

  /** @param {Box} view @param {Colours} colours */
  drawView(view, colours) {
    const pen = this.element.getContext("2d");
    if (pen === null) return;
    const { scale, x, y } = this.#place;
    pen.fillStyle = colours.surface;
    pen.fillRect(0, 0, WIDTH, HEIGHT);
    pen.drawImage(this.#nodes, 0, 0);
    pen.strokeStyle = colours.focus;
    pen.lineWidth = 2;
    const [width, height] = [view.right - view.left, view.bottom - view.top];
    pen.strokeRect(view.left * scale + x, view.top * scale + y, width * scale, height * scale);
  }
}
