/** Folds logs: a JSON list of lists of events on stdin, a list of views on stdout. Started by `test_project.py`. */
import { project } from "../../gateway/console/run/project.js";
import { told } from "./views.js";

const logs = JSON.parse(await new Response(Deno.stdin.readable).text());
const views = logs.map((/** @type {import("../../gateway/console/run/project.js").RunEvent[]} */ log) =>
  told(project(log))
);
await new Blob([JSON.stringify(views)]).stream().pipeTo(Deno.stdout.writable);
