/** How the edges of a graph are drawn: all in one stroke, those of the selected node in another one above. */

import { touches } from "./camera.js";
import { NODE_HEIGHT, NODE_WIDTH } from "./document.js";

/** @typedef {import("./camera.js").Box} Box */
/** @typedef {import("./document.js").Graph} Graph */
/** @typedef {import("./document.js").GraphEdge} GraphEdge */
/** @typedef {{ x1: number, y1: number, x2: number, y2: number, bend: number }} Curve */
/**
 * `view`: only what touches it is drawn. From afar edges are straight. `selected`: index of a node, -1 for none.
 * @typedef {{ view: Box, zoom: number, isFar: boolean, selected: number, colours: import("./node.js").Colours }} Look
 */

const LEAST_BEND = 40;

/**
 * @param {CanvasRenderingContext2D} pen In the graph's own units.
 * @param {Graph} graph
 * @param {Look} look
 */
export function drawEdges(pen, graph, { view, zoom, isFar, selected, colours }) {
  const [plain, chosen] = [new Path2D(), new Path2D()];
  for (const edge of graph.edges) {
    const curve = curveOf(edge, graph);
    if (curve === null || !touches(boxOf(curve), view)) continue;
    const { x1, y1, x2, y2, bend } = curve;
    const path = edge.source === selected || edge.target === selected ? chosen : plain;
    path.moveTo(x1, y1);
    if (isFar) path.lineTo(x2, y2);
    else path.bezierCurveTo(x1 + bend, y1, x2 - bend, y2, x2, y2);
  }
  // A line is at least a pixel wide on the screen.
  pen.lineWidth = Math.max(1.5, 1 / zoom);
  pen.strokeStyle = colours.quiet;
  pen.stroke(plain);
  pen.lineWidth *= 2;
  pen.strokeStyle = colours.focus;
  pen.stroke(chosen);
}

/** @param {GraphEdge} edge @param {Graph} graph @returns {Curve | null} */
function curveOf({ source, target, leaves, enters }, { nodes }) {
  const [from, to] = [nodes[source], nodes[target]];
  if (from === undefined || to === undefined) return null;
  const [x1, y1] = [from.x + NODE_WIDTH, from.y + leaves * NODE_HEIGHT];
  const [x2, y2] = [to.x, to.y + enters * NODE_HEIGHT];
  return { x1, y1, x2, y2, bend: Math.max(LEAST_BEND, Math.abs(x2 - x1) / 2) };
}

/** @param {Curve} curve @returns {Box} */
function boxOf({ x1, y1, x2, y2, bend }) {
  return {
    left: Math.min(x1, x2 - bend),
    right: Math.max(x1 + bend, x2),
    top: Math.min(y1, y2),
    bottom: Math.max(y1, y2),
  };
}
