// The curves of several runs over one another.
import { chart, COLOURS } from "../chart.js";
import { fill, get, h, tell } from "../core.js";
import { controls } from "./curves.js";
import { look, merged, most, smoothed } from "./tale.js";

const WHAT = { loss: "Loss", checks: "Loss on held-out pictures", rate: "Learning rate" };

/** `clear` is called when none shall be shown. Returns {element, show(names)}. */
export function overlay(clear) {
  const at = h("div.plot"), what = h("select", { "aria-label": "Which curve", onchange: () => draw() }, Object.entries(WHAT).map(([key, label]) => h("option", { value: key }, label)));
  const none = h("p.note", { hidden: true });
  const element = h("section.card.stack", { "aria-label": "Curves of several runs", hidden: true }, h("div.row.between", {}, h("div.row", {}, h("h2", {}, "Compared"), what, h("button.plain", { type: "button", onclick: clear }, "Clear")), controls(() => draw())), at, none);
  let runs = [], plot = null, asked = "", values = [];
  async function show(names) {
    element.hidden = !names.length;
    asked = names.join("|");
    if (!names.length) { runs = []; plot?.destroy(); plot = null; fill(at); return; }
    const query = new URLSearchParams(names.map((name) => ["work", name])), mine = asked;
    let told;
    try { told = await get(`/api/runs/curves?${query}`); } catch (error) { return tell(error); }
    if (mine === asked) { runs = told; draw(); }
  }
  function draw() {
    plot?.destroy(); plot = null; fill(at);
    if (!runs.length) return;
    const how = look.get(), curves = runs.map((run) => points(run, what.value, how));
    const empty = curves.every((curve) => !curve.length);
    none.hidden = !empty; none.textContent = `None of these runs told its ${WHAT[what.value].toLowerCase()}.`;
    if (empty) return;
    values = curves.flatMap((curve) => curve.map((point) => point[1]));
    plot = chart(at, { height: 260, log: how.log && what.value !== "rate", limits: () => (look.get().clip && what.value !== "rate" ? most(values) : null),
      series: runs.map((run, n) => ({ label: run.name, colour: COLOURS[n % COLOURS.length], width: 2, points: what.value === "checks" })) });
    plot.set(together(curves));
    at.setAttribute("role", "img");
    at.setAttribute("aria-label", `${WHAT[what.value]} of ${runs.map((run) => run.name).join(", ")}`);
  }
  return { element, show };
}

function points({ curve, checks }, what, how) {
  const held = (values) => (how.log ? values.map((v) => (v > 0 ? v : null)) : values);
  if (what === "checks") return checks;
  const column = what === "rate" ? curve.rate : held(smoothed(curve.mean, curve.span, how.smooth));
  return curve.step.map((step, n) => [step, column[n]]);
}

/** Curves of [x, y] as columns over all of their xs. */
function together(curves) {
  let xs = curves[0].map((p) => p[0]), columns = [curves[0].map((p) => p[1])];
  for (const curve of curves.slice(1)) { const [all, ...rest] = merged(xs, columns, curve); xs = all; columns = rest; }
  return [xs, ...columns];
}
