// One picture large, over another with a line that is drawn across: arrow keys walk through the sweep.
import { action, dialog, fill, get, h, picture, post, tell } from "../core.js";
import { keep } from "./keep.js";
import { places, written } from "./sheet.js";

let pinned = null;

export function zoom(sheet, view, start) {
  const at = { prompt: view.prompt, seed: view.seed, ...start };
  const under = h("img"), over = h("img.over"), left = h("span.tag.left"), right = h("span.tag.right"), edge = h("span.edge");
  const slide = h("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "Where the one picture ends and the other begins" });
  const pair = h("div.pair", {}, under, over, left, right, edge, slide);
  slide.addEventListener("input", () => pair.style.setProperty("--cut", `${slide.value}%`));
  const against = h("select", { "aria-label": "Compare with" }), told = h("div.told"), note = h("p.note", { "aria-live": "polite" });
  const pin = h("button", { type: "button", onclick: () => { pinned = { sheet: sheet.name, ...at }; offer(); against.value = "pinned"; note.textContent = "Pinned: walk on, and compare with it."; show(); } }, "Pin to compare");
  const box = dialog("", h("div.zoom", {}, h("div", {}, pair, h("p.note.keys", {}, "Arrow keys: epochs up and down, strengths left and right. [ ] prompts, comma and full stop seeds. Drag over the picture, or Tab to the line, to compare.")), h("aside.stack", {}, h("div.field", {}, h("span.label", {}, "Compare with"), against), h("div.row", {}, pin), note, told)));
  box.classList.add("wide");
  const heading = box.querySelector("h2");
  let mine = 0;

  function offer() {
    const kept = against.value || "base";
    const options = [["base", "the base model"], sheet.verdict?.choice && ["choice", "the choice"], pinned?.sheet === sheet.name && ["pinned", `pinned: ${sheet.called(pinned.epoch, pinned.strength)}`], sheet.report?.training && ["training", "the nearest training picture"], ["none", "nothing"]].filter(Boolean);
    fill(against, options.map(([key, words]) => h("option", { value: key }, words)));
    against.value = options.some(([key]) => key === kept) ? kept : "base";
  }
  const cell = () => (at.epoch ? sheet.cell(at.epoch, at.strength, at.prompt, at.seed) : at.strength ? sheet.cell(at.epoch, at.strength, at.prompt, at.seed) : sheet.control(at.prompt, at.seed));

  async function show() {
    const one = cell(), turn = (mine += 1);
    heading.textContent = sheet.called(at.epoch, at.strength).replace(/^./, (c) => c.toUpperCase());
    box.setAttribute("aria-label", heading.textContent);
    over.hidden = !one?.picture;
    if (one?.picture) { over.src = picture(one.picture); over.alt = `${heading.textContent}: ${at.prompt}`; }
    right.textContent = sheet.called(at.epoch, at.strength);
    details(one);
    await beside(one, turn);
  }
  async function beside(one, turn) {
    let other = null, words = "";
    note.replaceChildren();
    if (against.value === "base" && (at.epoch || at.strength)) { other = one ? sheet.base(one)?.picture : sheet.control(at.prompt, at.seed)?.picture; words = "the base model"; }
    if (against.value === "choice") { const c = sheet.verdict.choice; other = sheet.cell(c.epoch, c.strength, at.prompt, at.seed)?.picture; words = "the choice"; }
    if (against.value === "pinned") { other = sheet.cell(pinned.epoch, pinned.strength, at.prompt, at.seed)?.picture ?? sheet.control(at.prompt, at.seed)?.picture; words = sheet.called(pinned.epoch, pinned.strength); }
    if (against.value === "training" && one?.picture) [other, words] = await training(one, turn);
    if (turn !== mine) return;
    pair.classList.toggle("alone", !other || !one?.picture);
    under.hidden = !other; left.hidden = !other; edge.hidden = !other; slide.hidden = !other || !one?.picture;
    if (other) { under.src = picture(other); under.alt = words; left.textContent = words; }
  }
  async function training(one, turn) {
    if (!sheet.report.training_opened) {
      fill(note, `The training pictures lie in ${sheet.report.training}, which is not opened yet. `, action("Open it", async () => { await post("/api/analysis/open", { folder: sheet.report.training }); sheet.report.training_opened = true; show(); }));
      return [null, ""];
    }
    note.textContent = "Looking for the nearest training picture…";
    try {
      const found = await get("/api/analysis/nearest", { work: sheet.name, picture: one.picture });
      if (turn === mine) note.textContent = `${found.name}: alike by ${found.similarity.toFixed(2)} of 1${sheet.copies?.has(sheet.key(at.epoch, at.strength, at.prompt, at.seed)) ? "; counted as a copy" : ""}`;
      return [found.path, found.name];
    } catch (error) { if (turn === mine) note.textContent = error.message; return [null, ""]; }
  }
  function details(one) {
    const rows = sheet.measured().map((metric) => {
      const values = [...sheet.settings.values()].map((r) => r.metrics[metric.name]?.mean).filter((v) => v !== null && v !== undefined);
      const digits = places(values) + 1, all = sheet.value(metric.name, at.epoch, at.strength, false);
      const score = one?.scores?.[metric.name];
      return h("tr", {}, h("th", { scope: "row", title: metric.meaning }, metric.title), h("td.figures", {}, score === undefined ? "" : written(score, digits)), h("td.figures", {}, all ? [written(all.mean, digits), all.low !== null && all.low !== undefined && h("span.note.interval", {}, `${written(all.low, digits)} to ${written(all.high, digits)}`)] : at.epoch || at.strength ? "" : written(sheet.baseOf(metric.name), digits).replace("–", "")));
    });
    const standing = sheet.standingWords(at.epoch, at.strength), copy = sheet.copies?.get(sheet.key(at.epoch, at.strength, at.prompt, at.seed));
    fill(told, h("p.prompt", { dir: "auto" }, at.prompt), h("p.note", {}, `seed ${at.seed}`), one ? one.reason && h("p.problem", {}, one.reason) : h("p.note", {}, "This picture is not there."),
      standing.map((words) => h("p.standing", {}, words.replace(/^./, (c) => c.toUpperCase()))), copy && h("p.advice", {}, `A copy of the training picture ${copy.training} (${copy.similarity.toFixed(2)} alike)`),
      rows.length > 0 && h("div.scroll", {}, h("table", {}, h("thead", {}, h("tr", {}, h("th", {}, "Metric"), h("th.figures", {}, "This picture"), h("th.figures", {}, "All of the setting"))), h("tbody", {}, rows))),
      at.epoch > 0 && sheet.report && sheet.report.source.kind !== "pictures" && h("div.row", {}, h("button", { type: "button", onclick: () => keep(sheet, { epoch: at.epoch, strength: at.strength }) }, "Keep this setting's file"), h("a.button", { href: picture(one?.picture ?? ""), target: "_blank", hidden: !one?.picture }, "Full size")));
  }
  /** To the next setting in this direction that there is. */
  function walk(axis, list, by) {
    const next = { ...at };
    for (let place = list.indexOf(at[axis]) + by; place >= 0 && place < list.length; place += by) {
      next[axis] = list[place];
      if (sheet.exists(next.epoch, next.strength)) return void Object.assign(at, next);
    }
  }
  function step(list, value, by) { const place = list.indexOf(value) + by; return list[Math.max(0, Math.min(list.length - 1, place))]; }
  box.addEventListener("keydown", (event) => {
    const inField = event.target === slide || event.target.tagName === "SELECT";
    const moves = { ArrowUp: () => walk("epoch", sheet.epochs, -1), ArrowDown: () => walk("epoch", sheet.epochs, 1), ArrowLeft: () => walk("strength", sheet.strengths, -1), ArrowRight: () => walk("strength", sheet.strengths, 1) };
    const shots = { "[": () => { at.prompt = step(sheet.prompts, at.prompt, -1); }, "]": () => { at.prompt = step(sheet.prompts, at.prompt, 1); }, ",": () => { at.seed = step(sheet.seeds, at.seed, -1); }, ".": () => { at.seed = step(sheet.seeds, at.seed, 1); } };
    const move = inField ? shots[event.key] : moves[event.key] ?? shots[event.key];
    if (!move || event.ctrlKey || event.metaKey) return;
    event.preventDefault(); event.stopPropagation();
    if (!at.epoch && !at.strength && moves[event.key]) Object.assign(at, { epoch: sheet.epochs[0], strength: sheet.strengths[0] }); else move();
    show();
  });
  against.addEventListener("change", () => show().catch(tell));
  offer();
  show().catch(tell);
  pair.tabIndex = -1; pair.focus();
  return box;
}
