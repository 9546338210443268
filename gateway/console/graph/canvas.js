/**
 * What shows the nodes of a run: the list (`list.js`), and the drawing of the graph here. Neither follows the run by
 * itself: the store says what is new, and they ask it how a node stands.
 *
 * The drawing is a canvas: only what is in view is drawn, at most once per picture, and from afar without texts. People
 * who do not see it have the list; what is selected here is said all the same.
 */

import { name } from "../lib/format.js";
import { el, onEnd, signal, verbatim } from "../lib/view.js";
import { t } from "../lib/words.js";
import { around, fitted, inView, panned, readable, revealing, toGraph, touches, zoomed } from "./camera.js";
import { coloursAt, watchScheme } from "./colours.js";
import { NODE_HEIGHT, NODE_WIDTH } from "./document.js";
import { drawEdges } from "./edges.js";
import { bindGestures } from "./gestures.js";
import { Minimap } from "./minimap.js";
import { fitting, neighbour } from "./moves.js";
import { drawFar, drawNear } from "./node.js";

/** @typedef {import("../run/store.js").NodeShown} NodeShown */
/** @typedef {import("./camera.js").Box} Box */
/** @typedef {import("./camera.js").Point} Point */
/** @typedef {import("./document.js").Graph} Graph */
/** @typedef {import("./document.js").GraphNode} GraphNode */
/** @typedef {import("./node.js").Face} Face */
/**
 * `show` begins anew with these nodes; `add` brings one that was not there; `touch` says that one has changed, at most
 * once per picture; `select` marks one (null: none) and brings it into view; `fit` brings all into view.
 * @typedef {{
 *   element: HTMLElement,
 *   show: (paths: readonly string[]) => void,
 *   add: (path: string) => void,
 *   touch: (path: string) => void,
 *   select: (path: string | null) => void,
 *   fit: () => void,
 * }} Canvas
 */
/** How a node stands now. @typedef {(path: string) => NodeShown} Shows */
/**
 * `prefix` stands before the ids of the graph in paths: "" or a path that ends with "/". `faceOf` says what a box shows
 * now. `label` names the drawing, if it is not that of a run. `open` is called with a node that somebody wants to see
 * closely, `enter` with one that holds a graph.
 * @typedef {{
 *   graph: Graph, prefix: string, faceOf: (node: GraphNode, path: string) => Face,
 *   label?: import("../lib/view.js").Shown,
 *   open: (path: string) => void, enter: (path: string) => void,
 * }} Drawn
 */

/** Below, texts are not drawn; below the second, signs neither. */
const NEAR_ZOOM = 0.4;
const SIGN_ZOOM = 0.12;
const KEY_ZOOM = 1.25;
const ARROWS = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"]);

/** @param {GraphNode} node @returns {Box} */
function boxOf({ x, y }) {
  return { left: x, top: y, right: x + NODE_WIDTH, bottom: y + NODE_HEIGHT };
}

/** @implements {Canvas} */
export class GraphCanvas {
  element;
  #drawn;
  #canvas = el("canvas", { class: "graph-drawing", "aria-hidden": "true" });
  #minimap = new Minimap((middle) => this.#lookAt(middle));
  #pen;
  /** What is selected, in words. */
  #said = signal(verbatim(""));
  /** @type {import("./node.js").Colours | null} */
  #colours = null;
  #camera = { x: 0, y: 0, zoom: 1 };
  #size = { width: 0, height: 0 };
  /** Of the whole graph. @type {Box} */
  #box;
  /** What has changed is made anew when it is drawn. @type {Map<GraphNode, Face>} */
  #faces = new Map();
  #selected = -1;
  #isScheduled = false;
  #isMapStale = true;
  /** Nobody has moved the view yet: it is fitted again when the size changes. */
  #isUntouched = true;
  #isOver = false;

  /** @param {Drawn} drawn */
  constructor(drawn) {
    this.#drawn = drawn;
    this.#box = around(drawn.graph.nodes.map(boxOf));
    this.#pen = this.#canvas.getContext("2d", { alpha: false });
    this.element = this.#makeElement();
    bindGestures(this.#canvas, {
      pan: (dx, dy) => this.#move(panned(this.#camera, dx, dy)),
      zoom: (factor, at) => this.#move(zoomed(this.#camera, factor, at)),
      tap: (at) => this.#tap(at),
      tapTwice: (at) => this.#tapTwice(at),
    });
    const observer = new ResizeObserver(() => this.#resized());
    observer.observe(this.#canvas);
    const unwatch = watchScheme(() => {
      this.#colours = null;
      this.#changed();
    });
    onEnd(() => {
      this.#isOver = true;
      observer.disconnect();
      unwatch();
    });
  }

  #makeElement() {
    const stage = el(
      "div",
      {
        class: "graph-stage",
        role: "application",
        tabindex: "0",
        "aria-label": this.#drawn.label ?? t("graphOfRun"),
        "aria-describedby": "graph-keys",
        on: { keydown: (event) => this.#key(event) },
      },
      this.#canvas,
      this.#minimap.element,
    );
    const said = el("p", { role: "status", class: "graph-said" }, () => this.#said.value);
    return el(
      "div",
      { class: "graph" },
      this.#tools(),
      stage,
      el("p", { id: "graph-keys", class: "quiet graph-keys" }, t("graphKeys")),
      said,
    );
  }

  #tools() {
    const field = el("input", { type: "search", "aria-label": t("findNode"), placeholder: t("findNode") });
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.#find(field.value, event.shiftKey ? -1 : 1);
    });
    field.addEventListener("input", () => this.#find(field.value, 0));
    const button = (
      /** @type {import("../lib/view.js").Shown} */ sign,
      /** @type {import("../lib/words.js").Word} */ word,
      /** @type {() => void} */ click,
    ) => el("button", { type: "button", title: t(word), "aria-label": t(word), on: { click } }, sign);
    const buttons = [
      button(verbatim("+"), "zoomIn", () => this.#zoomBy(KEY_ZOOM)),
      button(verbatim("−"), "zoomOut", () => this.#zoomBy(1 / KEY_ZOOM)),
      button(verbatim("⤢"), "fit", () => this.fit()),
    ];
    return el("div", { class: "graph-tools" }, field, ...buttons);
  }

  /** Another graph of the same place, such as one that knows more nodes. @param {Graph} graph */
  replaceGraph(graph) {
    const selected = this.#drawn.graph.nodes[this.#selected]?.id;
    this.#drawn = { ...this.#drawn, graph };
    this.#box = around(graph.nodes.map(boxOf));
    this.#selected = selected === undefined ? -1 : graph.index.get(selected) ?? -1;
    this.show();
    if (this.#isUntouched) this.fit();
  }

  show() {
    this.#faces.clear();
    this.#changed();
  }

  /** @param {string} path */
  add(path) {
    this.touch(path);
  }

  /** @param {string} path */
  touch(path) {
    const { prefix, graph } = this.#drawn;
    if (!path.startsWith(prefix)) return;
    const index = graph.index.get(path.slice(prefix.length));
    if (index === undefined) return;
    const node = /** @type {GraphNode} */ (graph.nodes[index]);
    const before = this.#faces.get(node)?.word;
    this.#faces.delete(node);
    if (before !== this.#face(node).word) {
      this.#isMapStale = true;
      if (index === this.#selected) this.#say();
    }
    this.#schedule();
  }

  /** @param {string | null} path */
  select(path) {
    const { prefix, graph } = this.#drawn;
    const index = path?.startsWith(prefix) ? graph.index.get(path.slice(prefix.length)) : undefined;
    this.#choose(index ?? -1);
  }

  fit() {
    if (this.#size.width > 0) this.#camera = fitted(this.#box, this.#size);
    this.#isUntouched = true;
    this.#schedule();
  }

  /** @param {number} index */
  #path(index) {
    return this.#drawn.prefix + (this.#drawn.graph.nodes[index]?.id ?? "");
  }

  /** @param {GraphNode} node @returns {Face} */
  #face(node) {
    const known = this.#faces.get(node);
    if (known !== undefined) return known;
    const face = this.#drawn.faceOf(node, this.#drawn.prefix + node.id);
    this.#faces.set(node, face);
    return face;
  }

  /** @param {number} index */
  #choose(index) {
    this.#selected = index;
    const node = this.#drawn.graph.nodes[index];
    if (node !== undefined && this.#size.width > 0) {
      const before = this.#camera;
      this.#camera = revealing(before, boxOf(node), this.#size);
      if (this.#camera.x !== before.x || this.#camera.y !== before.y) this.#isUntouched = false;
    }
    this.#say();
    this.#schedule();
  }

  #say() {
    const node = this.#drawn.graph.nodes[this.#selected];
    if (node === undefined) return;
    const { title, type, word, badges } = this.#face(node);
    const inside = node.kind === "node" ? "" : t("canBeEntered");
    this.#said.value = verbatim([title, type, word, badges, inside].filter((one) => one !== "").join(", "));
  }

  /** @param {Point} at */
  #at(at) {
    const point = toGraph(this.#camera, at);
    const here = { left: point.x, right: point.x, top: point.y, bottom: point.y };
    // The last one is drawn above the others.
    return this.#drawn.graph.nodes.findLastIndex((node) => touches(boxOf(node), here));
  }

  /** @param {Point} at */
  #tap(at) {
    const index = this.#at(at);
    this.#selected = index;
    this.#say();
    this.#schedule();
    if (index >= 0) this.#drawn.open(this.#path(index));
  }

  /** @param {Point} at */
  #tapTwice(at) {
    const index = this.#at(at);
    if (index < 0) this.fit();
    else this.#enter(index);
  }

  /** @param {number} index */
  #enter(index) {
    const node = this.#drawn.graph.nodes[index];
    if (node !== undefined && node.kind !== "node") this.#drawn.enter(this.#path(index));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { key } = event;
    if (ARROWS.has(key)) this.#choose(neighbour(this.#drawn.graph, this.#selected, key));
    else if (key === "Enter" && this.#selected >= 0) this.#drawn.open(this.#path(this.#selected));
    else if (key === " ") this.#enter(this.#selected);
    else if (key === "+" || key === "=") this.#zoomBy(KEY_ZOOM);
    else if (key === "-") this.#zoomBy(1 / KEY_ZOOM);
    else if (key === "0") this.fit();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {string} text @param {number} step 0: the first that fits. */
  #find(text, step) {
    const found = fitting(this.#drawn.graph, text);
    const at = found.indexOf(this.#selected);
    const next = step === 0 || at < 0 ? 0 : (at + step + found.length) % found.length;
    const index = found[next];
    const node = this.#drawn.graph.nodes[index ?? -1];
    if (index === undefined || node === undefined) {
      this.#said.value = text.trim() === "" ? verbatim("") : t("nodesFound", { n: 0 });
      return;
    }
    this.#selected = index;
    this.#move(readable(this.#camera, boxOf(node), this.#size));
    this.#said.value = verbatim(`${t("nodesFound", { n: found.length })}: ${name(this.#path(index))}`);
  }

  /** @param {number} factor */
  #zoomBy(factor) {
    this.#move(zoomed(this.#camera, factor, { x: this.#size.width / 2, y: this.#size.height / 2 }));
  }

  /** @param {Point} middle */
  #lookAt(middle) {
    const { zoom } = this.#camera;
    this.#move({ x: middle.x - this.#size.width / 2 / zoom, y: middle.y - this.#size.height / 2 / zoom, zoom });
  }

  /** @param {import("./camera.js").Camera} camera */
  #move(camera) {
    this.#camera = camera;
    this.#isUntouched = false;
    this.#schedule();
  }

  #resized() {
    const isFirst = this.#size.width === 0;
    const { width, height } = this.#canvas.getBoundingClientRect();
    this.#size = { width, height };
    this.#canvas.width = Math.round(width * devicePixelRatio);
    this.#canvas.height = Math.round(height * devicePixelRatio);
    const selected = this.#drawn.graph.nodes[this.#selected];
    // The panel of a node takes room: what somebody looks at must not jump away.
    if (selected !== undefined && !isFirst) this.#camera = revealing(this.#camera, boxOf(selected), this.#size);
    else if (this.#isUntouched && width > 0) this.#camera = fitted(this.#box, this.#size);
    // A canvas whose size is set is empty: it is drawn before anybody sees that.
    this.#draw();
  }

  #changed() {
    this.#isMapStale = true;
    this.#schedule();
  }

  #schedule() {
    if (this.#isScheduled || this.#isOver) return;
    this.#isScheduled = true;
    requestAnimationFrame(() => {
      this.#isScheduled = false;
      if (!this.#isOver) this.#draw();
    });
  }

  #draw() {
    const pen = this.#pen;
    if (pen === null || this.#size.width === 0) return;
    this.#colours ??= coloursAt(this.element);
    const { x, y, zoom } = this.#camera;
    const scale = zoom * devicePixelRatio;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.fillStyle = this.#colours.ground;
    pen.fillRect(0, 0, this.#canvas.width, this.#canvas.height);
    pen.setTransform(scale, 0, 0, scale, -x * scale, -y * scale);
    const view = inView(this.#camera, this.#size);
    drawEdges(pen, this.#drawn.graph, {
      view,
      zoom,
      isFar: zoom < NEAR_ZOOM,
      selected: this.#selected,
      colours: this.#colours,
    });
    this.#drawNodes(pen, view);
    this.#drawMap(view);
  }

  /** @param {CanvasRenderingContext2D} pen @param {Box} view */
  #drawNodes(pen, view) {
    const colours = /** @type {import("./node.js").Colours} */ (this.#colours);
    const { nodes } = this.#drawn.graph;
    const seen = nodes.filter((node) => touches(boxOf(node), view));
    const { zoom } = this.#camera;
    const faceOf = (/** @type {GraphNode} */ node) => this.#face(node);
    if (zoom < NEAR_ZOOM) drawFar(pen, seen, faceOf, { colours, hasSigns: zoom >= SIGN_ZOOM });
    else for (const node of seen) drawNear(pen, node, faceOf(node), colours);
    const selected = nodes[this.#selected];
    if (selected === undefined) return;
    pen.strokeStyle = colours.focus;
    pen.lineWidth = Math.max(3, 2 / zoom);
    pen.strokeRect(selected.x - 4, selected.y - 4, NODE_WIDTH + 8, NODE_HEIGHT + 8);
  }

  /** @param {Box} view */
  #drawMap(view) {
    const colours = /** @type {import("./node.js").Colours} */ (this.#colours);
    if (this.#isMapStale) {
      const { nodes } = this.#drawn.graph;
      this.#minimap.drawNodes(nodes, { box: this.#box, faceOf: (node) => this.#face(node), colours });
      this.#isMapStale = false;
    }
    this.#minimap.drawView(view, colours);
  }
}
