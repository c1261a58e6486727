// The curves of a run: loss, learning rate, and where the time goes.
import { chart } from "../chart.js";
import { fill, h, number } from "../core.js";
import { look, merged, most, smoothed } from "./tale.js";

/** Sliders and switches for how curves are shown; `changed` is called when one is moved. */
export function controls(changed) {
  const now = look.get();
  const share = h("output.figures", {}, String(now.smooth));
  const slide = h("input", { type: "range", min: 0, max: 0.99, step: 0.01, value: now.smooth, "aria-label": "Smoothing of the loss",
    oninput: () => { share.textContent = slide.value; look.set({ smooth: Number(slide.value) }); changed(); } });
  const flag = (name, words, title) => h("label.check", { title }, h("input", { type: "checkbox", checked: now[name], onchange: (e) => { look.set({ [name]: e.target.checked }); changed(); } }), words);
  return h("div.row.looks", {}, h("label.row", {}, "Smoothing", slide, share), flag("log", "Log scale", ""),
    flag("clip", "Clip outliers", "Leaves the highest two in a hundred out of the picture"));
}

/** The card of a run's curves; returns draw(tale). */
export function curves(place) {
  const at = h("div.plot"), rates = h("div.plot"), split = h("div.split"), none = h("p.note.nothing", {}, "The curves begin with the first step.");
  let loss = null, rate = null, shown = null;
  const section = h("section.card.stack", { "aria-label": "Loss" }, h("div.row.between", {}, h("h2", {}, "Loss"), controls(() => shown && draw(shown))), none, at);
  const aside = h("div.columns", {},
    h("section.card.stack", { "aria-label": "Learning rate" }, h("h2", {}, "Learning rate"), rates),
    h("section.card.stack", { "aria-label": "Where the time goes" }, h("h2", {}, "Where the time goes"), split));
  aside.hidden = true; at.hidden = true;
  place.append(section, aside);
  function draw(tale) {
    shown = tale;
    const { points, checks } = tale, how = look.get();
    const any = points.step.length > 0;
    none.hidden = any; at.hidden = !any; aside.hidden = !any;
    if (!any) return;
    loss ??= chart(at, { height: 260, limits: () => look.get().clip ? most([...shown.points.loss, ...shown.checks.values()]) : null, series: [
      { label: "each step", colour: "--accent", width: 1, faint: true }, { label: "smoothed", colour: "--accent", width: 2.5 },
      { label: "held-out pictures", colour: "--pick", width: 1.5, points: true }] });
    rate ??= chart(rates, { height: 150, series: [{ label: "learning rate", colour: "--violet", width: 2 }] });
    const held = (values) => (how.log ? values.map((v) => (v > 0 ? v : null)) : values);
    loss.log(how.log);
    loss.set(merged(points.step, [held(points.loss), held(smoothed(points.mean, points.span, how.smooth))], checks));
    rate.set([points.step, points.rate]);
    at.setAttribute("role", "img");
    at.setAttribute("aria-label", `Loss over ${points.step.at(-1)} steps, ${number(points.mean[0])} at first, ${number(smoothed(points.mean, points.span, 0.9).at(-1))} lately`);
    phases(split, tale.seconds);
  }
  return draw;
}

const PHASES = [["data", "--soft", "reading pictures"], ["forward", "--accent", "forward"], ["backward", "--violet", "backward"], ["update", "--good", "update"]];

function phases(place, seconds) {
  const total = Object.values(seconds).reduce((a, b) => a + b, 0);
  if (!total) return;
  const parts = [...PHASES.filter(([name]) => name in seconds), ...Object.keys(seconds).filter((name) => !PHASES.some((p) => p[0] === name)).map((name) => [name, "--warn", name])];
  const share = (name) => (100 * seconds[name]) / total;
  if (place.childElementCount === 2 && place.dataset.parts === String(parts.length)) {
    parts.forEach(([name], n) => { place.firstChild.children[n].style.width = `${share(name)}%`; place.lastChild.children[n].lastChild.textContent = `${share(name).toFixed(0)} %`; });
    return;
  }
  place.dataset.parts = parts.length;
  fill(place, h("div.shares", { "aria-hidden": "true" }, parts.map(([name, colour]) => h("i", { style: `width:${share(name)}%;background:var(${colour})` }))),
    h("dl.keys", {}, parts.map(([name, colour, words]) => h("div", {}, h("dt", {}, h("i", { style: `background:var(${colour})` }), words), h("dd.figures", {}, `${share(name).toFixed(0)} %`)))));
}
