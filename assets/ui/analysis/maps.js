// Numbers by setting: heat maps, curves with intervals, and a table to sort.
import { fill, h } from "../core.js";
import { chart } from "../chart.js";
import { colour, places, rove, spanWords, way, written } from "./sheet.js";

/** Two heat maps side by side: how much was learned, and whether quality is held. */
export function maps(place, sheet, view, onopen) {
  const change = h("input", { type: "checkbox", id: "as-change", checked: view.change });
  const inside = h("div.heats");
  const draws = [["learned", "How much it learned"], ["quality", "Is quality held"]].filter(([axis]) => sheet.measured(axis).length).map(([axis, words]) => one(axis, words));
  if (!draws.length && sheet.measured().length) draws.push(one(undefined, "What was measured"));
  fill(place, h("div.row.between", {}, h("h2", {}, "Numbers"), h("label.check", {}, change, "As change from the base model")), inside);
  fill(inside, draws.map((each) => each.made));
  change.addEventListener("change", () => { view.change = change.checked; draw(); });
  function one(axis, words) {
    const some = axis ? [...sheet.measured(axis), ...sheet.measured("aside")] : sheet.measured();
    const pick = h("select", { "aria-label": words }, some.map((m) => h("option", { value: m.name }, m.title)));
    const kept = view.maps?.[axis ?? "all"], learned = axis === "learned" ? sheet.report.verdict.learned_metric : null;
    pick.value = [kept, learned, some[0].name].find((name) => some.some((m) => m.name === name));
    const body = h("div"), about = h("p.note");
    pick.addEventListener("change", () => { view.maps = { ...view.maps, [axis ?? "all"]: pick.value }; heat(body, about, sheet, view, pick.value, onopen); });
    return { made: h("section.map", {}, h("div.row.between", {}, h("h3", {}, words), pick), body, about), draw: () => heat(body, about, sheet, view, pick.value, onopen) };
  }
  function draw() { for (const each of draws) each.draw(); }
  draw();
  return { draw };
}

function heat(place, about, sheet, view, name, onopen) {
  const metric = sheet.metric(name), signed = view.change && sheet.hasChange(name);
  const means = [...sheet.settings.values()].map((one) => sheet.value(name, one.epoch, one.strength, view.change)?.mean).filter((v) => v !== undefined && v !== null);
  const range = { low: Math.min(...means), high: Math.max(...means), digits: places(means), signed };
  const rows = sheet.epochs.map((epoch, row) => h("tr", {}, h("th", { scope: "row" }, sheet.label(epoch).replace(/^epoch /, "")), sheet.strengths.map((strength, column) => heatCell({ sheet, view, metric, range, onopen }, [epoch, strength], [row, column]))));
  const table = h("table.heat", { "data-columns": sheet.strengths.length }, h("caption.note", {}, `${signed ? "Change from the base model" : "As measured"}; ${way(metric)}`),
    h("thead", {}, h("tr", {}, h("td.corner", {}, "epoch \\ strength"), sheet.strengths.map((s) => h("th", { scope: "col" }, s)))), h("tbody", {}, rows));
  const ends = [range.low, range.high].map((v) => written(v, range.digits, signed));
  if (metric.better === "lower") ends.reverse();
  const ramp = h("span.ramp", { "aria-hidden": "true" });
  ramp.style.backgroundImage = `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map((share) => colour(share).back).join(", ")})`;
  fill(place, h("div.scroll", {}, table), h("p.scale", {}, h("span", {}, ends[0]), ramp, h("span", {}, ends[1]), h("span.soft", {}, metric.better === "neither" ? "brighter is higher" : "brighter is better")));
  about.textContent = `${metric.meaning} ${metric.distrust}`;
  rove(table, sheet.choice);
}

function heatCell({ sheet, view, metric, range, onopen }, [epoch, strength], [row, column]) {
  const value = sheet.value(metric.name, epoch, strength, view.change);
  if (!value) return h("td.none", {}, sheet.at(epoch, strength) ? "–" : "");
  let share = range.high > range.low ? (value.mean - range.low) / (range.high - range.low) : 0.5;
  if (metric.better === "lower") share = 1 - share;
  const shade = colour(share);
  const words = [`${sheet.called(epoch, strength)}: ${spanWords(value, range.digits + 1, range.signed)}`, ...sheet.standingWords(epoch, strength)].join(". ");
  return h("td", { class: sheet.standing(epoch, strength) }, h("button", { type: "button", "data-at": `${epoch}|${strength}`, "data-row": row, "data-column": column, "aria-label": words, title: words, style: `--back:${shade.back};--front:${shade.ink}`, onclick: () => onopen(epoch, strength) }, written(value.mean, range.digits, range.signed)));
}

/** A metric over epochs at one strength, or over strengths at one epoch, with its interval. */
export function curves(place, sheet, view) {
  const some = sheet.measured();
  const ways = [["epoch", "Over epochs", sheet.epochs], ["strength", "Over strengths", sheet.strengths]].filter(([, , all]) => all.length > 1);
  if (!some.length || !ways.length) { place.hidden = true; return null; }
  const pick = h("select", { "aria-label": "Metric of the curve" }, some.map((m) => h("option", { value: m.name }, m.title)));
  const over = h("select", { "aria-label": "What it runs over" }, ways.map(([key, words]) => h("option", { value: key }, words)));
  const at = h("select", { "aria-label": "Where" });
  const body = h("div.curve"), words = h("p.note");
  pick.value = [view.curve, sheet.report.verdict.learned_metric, some[0].name].find((name) => some.some((m) => m.name === name));
  fill(place, h("div.row.between", {}, h("h2", {}, "Curves"), h("div.row.picks", {}, pick, over, at)), body, words);
  let plot = null;
  function offer() {
    const isEpoch = over.value === "epoch", choice = sheet.verdict.choice;
    const options = (isEpoch ? sheet.strengths : sheet.epochs).filter((one) => (isEpoch ? sheet.epochs.filter((e) => sheet.at(e, one)) : sheet.strengths.filter((s) => sheet.at(one, s))).length > 1);
    fill(at, options.map((one) => h("option", { value: one }, isEpoch ? `at strength ${one}` : `at ${sheet.label(one)}`)));
    const wanted = choice ? (isEpoch ? choice.strength : choice.epoch) : isEpoch ? 1 : options.at(-1);
    at.value = options.reduce((best, one) => (Math.abs(one - wanted) < Math.abs(best - wanted) ? one : best), options[0]);
  }
  function draw() {
    const isEpoch = over.value === "epoch", metric = sheet.metric(pick.value), where = Number(at.value);
    const xs = (isEpoch ? sheet.epochs : sheet.strengths).filter((x) => (isEpoch ? sheet.at(x, where) : sheet.at(where, x)));
    const values = xs.map((x) => (isEpoch ? sheet.value(pick.value, x, where, view.change) : sheet.value(pick.value, where, x, view.change)));
    plot?.destroy(); body.replaceChildren();
    plot = chart(body, { x: isEpoch ? "epoch" : "strength", height: 240, series: [{ label: metric.title, colour: "--accent", width: 2.5, points: true }, { label: "low", colour: "--accent", width: 1, dash: [4, 4] }, { label: "high", colour: "--accent", width: 1, dash: [4, 4] }] });
    plot.set([xs, values.map((v) => v?.mean ?? null), values.map((v) => v?.low ?? null), values.map((v) => v?.high ?? null)]);
    words.textContent = `${view.change && sheet.hasChange(pick.value) ? "Change from the base model" : "As measured"}; ${way(metric)}. Dashed: 95% intervals that hold for all settings together${sheet.report.judged_base?.[pick.value] ? "; of the model's own loss, one standard error" : ""}.`;
  }
  over.addEventListener("change", () => { offer(); draw(); });
  for (const each of [pick, at]) each.addEventListener("change", draw);
  pick.addEventListener("change", () => { view.curve = pick.value; });
  offer(); draw();
  return { draw };
}

const MOST = 100;
/** All settings as a table that sorts by its headings; the choice first. */
export function standings(place, sheet, onopen) {
  const some = sheet.measured(), digits = new Map(some.map((m) => [m.name, places([...sheet.settings.values()].map((r) => r.metrics[m.name]?.mean).filter((v) => v !== null && v !== undefined)) + 1]));
  const rank = { pick: 0, tie: 1, "": 2, out: 3 };
  const columns = [["Epoch", (r) => r.epoch], ["Strength", (r) => r.strength], ["Standing", (r) => rank[sheet.standing(r.epoch, r.strength)]], ["Chance", (r) => sheet.chance(r.epoch, r.strength) ?? -1, "Chance to be the very best"], ...some.map((m) => [m.title, (r) => r.metrics[m.name]?.mean ?? NaN, `${m.meaning} ${way(m)}.`])];
  let by = 2, down = false, all = false;
  const body = h("tbody"), heads = columns.map(([words, , about], index) => h(`th${index > 2 ? ".figures" : ""}`, { scope: "col", title: about }, h("button.plain", { type: "button", onclick: () => sort(index) }, words)));
  const more = h("button", { type: "button", onclick: () => { all = true; draw(); } });
  fill(place, h("h2", {}, "All settings"), h("div.scroll", {}, h("table.standings", {}, h("thead", {}, h("tr", {}, heads)), body)), h("div.row", {}, more));
  function sort(index) {
    const better = index > 3 && some[index - 4].better !== "lower";
    if (by === index) down = !down; else { by = index; down = index === 3 || better; }
    draw();
  }
  function draw() {
    const value = columns[by][1], sign = down ? -1 : 1;
    const rows = [...sheet.settings.values()].sort((a, b) => { const [x, y] = [value(a), value(b)]; return Number.isNaN(x) - Number.isNaN(y) || sign * (x - y) || a.epoch - b.epoch || a.strength - b.strength; });
    heads.forEach((head, index) => (index === by ? head.setAttribute("aria-sort", down ? "descending" : "ascending") : head.removeAttribute("aria-sort")));
    more.hidden = all || rows.length <= MOST; more.textContent = `Show all ${rows.length}`;
    fill(body, (all ? rows : rows.slice(0, MOST)).map(line));
  }
  function line(row) {
    const standing = sheet.standing(row.epoch, row.strength), p = sheet.chance(row.epoch, row.strength);
    return h("tr", { class: standing }, h("td", {}, h("button.plain.name", { type: "button", onclick: () => onopen(row.epoch, row.strength) }, sheet.label(row.epoch))), h("td.figures.left", {}, row.strength), h("td", { title: (sheet.vetoed.get(`${row.epoch}|${row.strength}`) ?? []).join("; ") }, { pick: "choice", tie: "tied", out: "ruled out", "": "" }[standing]),
      h("td.figures", {}, p === undefined ? "" : p < 0.01 ? "<1%" : `${Math.round(100 * p)}%`), some.map((m) => h("td.figures", {}, written(row.metrics[m.name]?.mean, digits.get(m.name)))));
  }
  draw();
  return { draw };
}
