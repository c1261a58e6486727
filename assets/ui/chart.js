// Curves over steps, drawn by uPlot (MIT) in the page's colours.
import { h } from "./core.js";
import uPlot from "./vendor/uPlot.esm.js";

if (!document.querySelector("link[data-uplot]")) document.head.append(h("link", { rel: "stylesheet", href: "/ui/vendor/uPlot.min.css", "data-uplot": "" }));
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const COLOURS = ["--accent", "--pick", "--good", "--violet", "--warn", "--soft"];

/**
 * A chart in `place`. `series`: [{label, colour: "--accent", width, dash, faint, points}], drawn with
 * set([xs, ys, ...]), whose arrays are of one length; null is a gap. A part that a person drew out
 * stays in view when more is set. `limits()` says which values to show: [low, high], or null for all.
 */
export function chart(place, { series, height = 220, x = "step", y = "", log = false, limits = null }) {
  let plot, data = [[], ...series.map(() => [])], isLog = log;
  const words = (u, values) => values.map((v) => (v === null ? "" : Number(v.toPrecision(3)).toString()));
  const axis = (extra) => ({ stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 }, font: "12px system-ui, sans-serif", ...extra });
  const range = (u, low, high) => {
    const [from, to] = limits() ?? [low, high];
    if (from === null || from === undefined || !(to > 0 || !isLog)) return [0.1, 1];
    return isLog ? uPlot.rangeLog(from, to, 10, false) : uPlot.rangeNum(from, to, 0.05, true);
  };
  const make = () => {
    plot?.destroy();
    plot = new uPlot({
      width: Math.max(200, place.clientWidth), height, cursor: { drag: { x: true, y: false } }, legend: { live: true },
      scales: { x: { time: false }, y: { distr: isLog ? 3 : 1, ...(limits ? { range } : {}) } },
      axes: [axis({ values: words }), axis({ size: 58, values: words, label: y || undefined, labelSize: y ? 18 : 0 })],
      series: [{ label: x, value: (u, v) => v ?? "–" }, ...series.map((s) => ({
        label: s.label, stroke: colour(s.colour) + (s.faint ? "66" : ""), width: s.width ?? 2, dash: s.dash, spanGaps: true,
        points: { show: Boolean(s.points), size: 7, fill: colour(s.colour) }, value: (u, v) => (v === null || v === undefined ? "–" : Number(v.toPrecision(4)).toString()) }))],
    }, data, place);
  };
  make();
  const watch = new ResizeObserver(() => plot.setSize({ width: Math.max(200, place.clientWidth), height }));
  watch.observe(place);
  const again = () => make();
  document.addEventListener("theme", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  return {
    set(next) {
      const { min, max } = plot.scales.x, old = data[0];
      const drawn = old.length > 1 && (min > old[0] || max < old.at(-1));
      data = next;
      plot.setData(next);
      if (drawn) plot.setScale("x", { min, max });
    },
    log(on) { if (on !== isLog) { isLog = on; make(); } },
    destroy() { watch.disconnect(); document.removeEventListener("theme", again); plot.destroy(); },
  };
}
