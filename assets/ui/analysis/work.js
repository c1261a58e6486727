// One analysis: pictures as they are rendered, then the verdict, numbers, and what to do with them.
import { action, asked, badge, bar, confirm, duration, fill, get, h, poll, post, remember, PHASES, WORDS } from "../core.js";
import { grid } from "./grid.js";
import { curves, maps, standings } from "./maps.js";
import { Sheet } from "./sheet.js";
import { verdict } from "./verdict.js";
import { zoom } from "./zoom.js";

export async function draw(page, actions, name) {
  let outline;
  try { outline = await get("/api/analysis/outline", { work: name }); }
  catch (error) { return fill(page, problem(error), h("div.row", {}, h("a.button", { href: "/analysis" }, "All analyses"))); }
  const sheet = new Sheet(name, outline);
  const view = { prompt: asked("p") ?? "", seed: Number(asked("k") ?? NaN), metric: asked("m") ?? "", change: true, large: true };
  const parts = lay(page, outline, name);
  const state = { position: 0, report: 0, phases: [], status: "", ended: null, warned: [], facts: null };
  const pictures = shots(parts.pictures, sheet, view);
  poll(async () => {
    let news;
    try { news = await get("/api/analysis/news", { work: name, position: state.position }); }
    catch (error) { lost(parts, error); return 4000; }
    take(state, news);
    const fresh = sheet.take(news);
    status(parts, state, name);
    if (news.report && news.report !== state.report && news.status !== "running") await conclude(parts, sheet, view, state, news, pictures);
    else if (fresh && !sheet.report) pictures.draw();
    else if (!sheet.report) pictures.draw();
    return news.status === "running" || news.status === "waiting" ? 1000 : 5000;
  });
}

function lay(page, outline, name) {
  const parts = Object.fromEntries(["status", "verdict", "pictures", "maps", "curves", "table", "foot"].map((key) => [key, h(`section.card.${key}`, { hidden: key !== "status" && key !== "pictures" })]));
  const run = name.split("/")[0];
  fill(page, h("div.row.between.title", {}, h("div", {}, h("h2.worktitle", {}, outline.title), h("p.note", {}, h("a", { href: "/analysis" }, "All analyses"), outline.kind === "run" && [" · ", h("a", { href: `/runs?work=${encodeURIComponent(run)}` }, "its run"), " · ", h("a", { href: `/analysis?run=${encodeURIComponent(run)}` }, "analyse again")])), parts.acts = h("div.row")),
    parts.status, parts.verdict, parts.pictures, parts.maps, parts.curves, parts.table, parts.foot);
  for (const [key, words] of Object.entries({ status: "Progress", verdict: "Verdict", pictures: "Pictures", maps: "Heat maps", curves: "Curves", table: "All settings", foot: "Files" })) parts[key].setAttribute("aria-label", words);
  return parts;
}

function take(state, news) {
  if (news.position < state.position) Object.assign(state, { phases: [], warned: [] });
  if (news.facts) Object.assign(state, { facts: news.facts, warned: [] });
  state.phases = [...state.phases, ...news.phases].slice(-600);
  if (news.phases.length) state.ended = null;
  state.warned = [...new Set([...state.warned, ...news.warned])];
  Object.assign(state, { position: news.position, status: news.status, stopping: news.stopping, ended: news.ended ?? state.ended });
}

/** Rate and time left of what is done now, by the last minute of it. */
export function pace(phases) {
  const now = phases.at(-1);
  if (!now) return null;
  const [time, phase, done, total] = now;
  let first = now;
  for (let i = phases.length - 1; i >= 0 && phases[i][1] === phase && phases[i][2] <= first[2] && phases[i][3] === total && time - phases[i][0] < 60; i -= 1) first = phases[i];
  const rate = time > first[0] ? (done - first[2]) / (time - first[0]) : null;
  return { phase, done, total, rate, left: rate ? (total - done) / rate : null };
}

function status(parts, state, name) {
  const going = state.status === "running" || state.status === "waiting";
  const now = JSON.stringify([state.status, state.stopping, state.ended, state.phases.at(-1), state.warned.length]);
  if (now === state.shown) return;
  const key = `${state.status} ${state.stopping}`;
  if (key !== state.acts) buttons(parts.acts, state, name);
  Object.assign(state, { shown: now, acts: key });
  parts.status.hidden = state.status === "completed" && Boolean(state.report);
  if (!going) return ended(parts.status, state, name);
  const told = pace(state.phases), known = told && told.total;
  const words = !told ? "Starting" : `${PHASES[told.phase] ?? told.phase}${known ? ` ${told.done} of ${told.total}` : ""}`;
  const more = known && told.rate ? `${told.rate >= 1 ? `${told.rate.toFixed(1)} a second` : `${(1 / told.rate).toFixed(1)} s each`}, ${duration(told.left)} left` : "";
  if (!parts.live?.isConnected) { parts.live = h("div.live", {}, h("b"), h("span.note.figures"), h("div.long")); fill(parts.status, parts.live, notes(state)); }
  const [first, second, third] = parts.live.children;
  first.textContent = state.stopping ? `${words} – stopping after what is at work` : words;
  second.textContent = more;
  fill(third, bar(known ? told.done / told.total : null, words));
}

function buttons(place, state, name) {
  const again = ["stopped", "failed", "died"].includes(state.status);
  fill(place, badge(state.status),
    state.status === "running" && !state.stopping && action("Stop", async () => { if (await confirm("Stop after the pictures that are at work? What is rendered is kept, and it can go on later.", "Stop")) await post("/api/analysis/stop", { work: name }); }),
    again && action("Go on", () => post("/api/analysis/resume", { work: name }), { kind: "primary" }));
}

function ended(place, state, name) {
  const log = h("pre.log", { hidden: true, tabIndex: 0 });
  const show = action("What it printed", async () => { const told = await get("/api/analysis/log", { work: name }); log.textContent = told.log || "Nothing."; log.hidden = false; });
  const told = state.ended ?? {};
  const bad = state.status === "failed" || state.status === "died";
  fill(place, bad && h("div.problem", { role: "alert" }, h("b", {}, told.problem || "It ended without a word: the computer was switched off, or the process was killed."), told.where && h("p.mono", {}, told.where), told.hint && h("p", {}, `Try: ${told.hint}.`), h("p.note", {}, "What is rendered is kept; “Go on” takes it up from there.")),
    state.status === "stopped" && h("p", {}, `${WORDS.stopped}. What is rendered is kept; “Go on” takes it up from there.`), notes(state), bad && h("div.row", {}, show), bad && log);
}

const notes = (state) => state.warned.length > 0 && h("details.notes", {}, h("summary", {}, `${state.warned.length} note${state.warned.length === 1 ? "" : "s"}`), h("ul.why", {}, state.warned.map((words) => h("li", {}, words))));

function lost(parts, error) {
  if (parts.status.dataset.lost === error.message) return;
  parts.status.dataset.lost = error.message;
  parts.status.hidden = false;
  fill(parts.status, problem(error));
}
const problem = (error) => h("div.problem", { role: "alert" }, h("b", {}, error.message), error.where && h("p.mono", {}, error.where), error.hint && h("p", {}, `Try: ${error.hint}.`));

/** The card of pictures with its choosers; drawn again only where something changed. */
function shots(place, sheet, view) {
  const prompts = h("div.chooser"), seeds = h("div.chooser"), metric = h("select", { "aria-label": "Number below the pictures" }), body = h("div"), count = h("span.note.figures");
  const size = h("input", { type: "range", min: 56, max: 220, value: localStorage.getItem("analysis size") ?? (innerWidth < 700 ? 76 : 112), "aria-label": "Size of pictures" });
  fill(place, h("div.row.between", {}, h("h2", {}, "Pictures"), h("div.row.picks", {}, count, h("label.row.size", {}, "Size", size), metric)), prompts, seeds, body);
  const resize = () => { body.style.setProperty("--side", `${size.value}px`); view.large = Number(size.value) > 120; };
  size.addEventListener("input", () => { resize(); localStorage.setItem("analysis size", size.value); made?.update(); });
  metric.addEventListener("change", () => { view.metric = metric.value; remember({ m: view.metric }); made.update(); });
  let made = null, offered = "";
  const open = (epoch, strength, prompt, seed) => zoom(sheet, view, { epoch, strength, ...(prompt ? { prompt, seed } : {}) });
  function offer() {
    const now = JSON.stringify([sheet.prompts, sheet.seeds, sheet.metrics.length]);
    if (now === offered) return;
    offered = now;
    if (!sheet.prompts.includes(view.prompt)) view.prompt = sheet.prompts[0] ?? "";
    if (!sheet.seeds.includes(view.seed)) view.seed = sheet.seeds[0] ?? 0;
    chooser(prompts, "Prompt", sheet.prompts, () => view.prompt, (one) => { view.prompt = one; remember({ p: one }); update(); });
    chooser(seeds, "Seed", sheet.seeds, () => view.seed, (one) => { view.seed = one; remember({ k: String(one) }); update(); });
    const some = sheet.metrics.filter((m) => sheet.report?.cells.some((cell) => cell.scores[m.name] !== null && cell.scores[m.name] !== undefined));
    metric.hidden = !some.length;
    fill(metric, h("option", { value: "" }, "no numbers"), some.map((m) => h("option", { value: m.name }, m.title)));
    view.metric = some.some((m) => m.name === view.metric) ? view.metric : some.find((m) => m.name === sheet.report?.verdict.learned_metric)?.name ?? "";
    metric.value = view.metric;
  }
  function update() { for (const each of [prompts, seeds]) each.refresh?.(); made?.update(); }
  function draw() {
    offer();
    const there = sheet.cells.size;
    if (!there && !sheet.epochs.length) return fill(body, h("p.soft", {}, "Pictures appear here as they are rendered."));
    if (!made) { body.replaceChildren(); made = grid(body, sheet, view, open); } else made.draw();
    count.textContent = sheet.report ? "" : `${there} picture${there === 1 ? "" : "s"} so far`;
    return null;
  }
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, textarea, dialog") || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
    const by = { "[": [prompts, -1], "]": [prompts, 1], ",": [seeds, -1], ".": [seeds, 1] }[event.key];
    if (by) { event.preventDefault(); by[0].step?.(by[1]); }
  });
  resize();
  return { draw, update, open };
}

/** One of a few as buttons, one of many as a list; step(±1) goes on. */
function chooser(place, words, options, read, choose) {
  place.hidden = options.length < 2;
  const many = options.length > 10, picked = (one) => { choose(one); place.refresh(); };
  const pick = many ? h("select", { "aria-label": words, onchange: () => picked(options[pick.selectedIndex]) }, options.map((one) => h("option", {}, one))) : h("div.tabs", { role: "group", "aria-label": words }, options.map((one) => h("button", { type: "button", dir: "auto", title: String(one), onclick: () => picked(one) }, String(one))));
  place.refresh = () => { if (many) pick.selectedIndex = options.indexOf(read()); else [...pick.children].forEach((button, index) => button.setAttribute("aria-pressed", options[index] === read())); };
  place.step = (by) => picked(options[(options.indexOf(read()) + by + options.length) % options.length]);
  fill(place, h("span.soft", {}, words), pick);
  place.refresh();
}

async function conclude(parts, sheet, view, state, news, pictures) {
  let report;
  try { report = await get("/api/analysis/report", { work: sheet.name }); }
  catch (error) { parts.verdict.hidden = false; state.report = news.report; pictures.draw(); return void fill(parts.verdict, problem(error), h("div.row", {}, action("Analyse again", () => post("/api/analysis/resume", { work: sheet.name })))); }
  state.report = news.report;
  parts.status.hidden = state.status === "completed";
  sheet.conclude(report);
  for (const key of ["verdict", "maps", "curves", "table", "foot"]) parts[key].hidden = false;
  pictures.draw();
  pictures.update();
  const drawn = [];
  verdict(parts.verdict, sheet, view, { onopen: pictures.open, onrule: () => { pictures.update(); for (const each of drawn) each?.draw(); } });
  drawn.push(maps(parts.maps, sheet, view, pictures.open), standings(parts.table, sheet, pictures.open));
  curves(parts.curves, sheet, view);
  foot(parts.foot, sheet, state);
}

function foot(place, sheet, state) {
  const link = (name, words) => h("a.button", { href: `/api/analysis/download?${new URLSearchParams({ work: sheet.name, name })}`, download: "" }, words);
  const recipe = Object.entries(sheet.report.recipe);
  fill(place, h("h2", {}, "Files"), h("div.row", {}, link("scores.csv", "Numbers (CSV)"), link("report.json", "Report (JSON)"), link("contact-sheet.png", "Contact sheet (PNG)")), h("p.mono.soft", {}, sheet.report.folder),
    notes(state), h("details", {}, h("summary", {}, "How the pictures were made"), h("dl.recipe", {}, recipe.map(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]))));
}
