// Train: choose a preset, say what it is about, see what it takes, start.
import { action, asked, confirm, fill, get, h, post, remember, tell, thumb, toast } from "../core.js";
import { form } from "../form.js";
import { ahead } from "../train/ahead.js";
import * as drafts from "../train/draft.js";
import { keeping, written } from "../train/papers.js";
import { chooser } from "../train/presets.js";
import { browse } from "./dataset/choose.js";

const TITLES = { pictures: "Pictures and name", "": "This run", dataset: "Pictures", model: "Base model", learning: "Learning", adapter: "LoRA", optimizer: "Optimizer", schedule: "Length and rate", watching: "While it trains, and after", prior: "Class pictures (prior preservation)", samples: "Sample pictures", validation: "Held-out pictures", save: "Files", analysis: "Analysis", compute: "Device", memory: "Memory", track: "Trackers", text_encoder: "Text encoder" };
const TOGETHER = { dataset: "pictures", "": "pictures", adapter: "learning", optimizer: "learning", schedule: "learning", samples: "watching", validation: "watching", analysis: "watching" };
const OTHER = { "schedule.epochs": "schedule.steps", "schedule.steps": "schedule.epochs" }; // a run's length is told in one of them
const ORDER = ["dataset", "", "model", "adapter", "optimizer", "schedule", "samples", "validation", "analysis"];

export async function draw(page, actions) {
  const draft = opened();
  let timer = 0, turn = 0, looked = 0, asking = false, again = false;
  let { preset, run } = draft, told;
  try { told = await get("/api/train/form", { preset, run }); }
  catch (error) { tell(error); preset = run = ""; told = await get("/api/train/form"); }
  let below = told;
  const place = h("div.stack.sections"), look = h("div.look", { "aria-live": "polite" }), found = h("p.note", { "aria-live": "polite" });
  const shown = form(place, ordered(told.specs), { titles: TITLES, together: TOGETHER, onchange });
  const side = ahead();
  const all = h("input", { type: "checkbox", id: "all-settings", onchange: () => { shown.advanced(all.checked); localStorage.setItem("train-all", all.checked ? "yes" : ""); } });
  const folded = h("span.soft"), search = h("input", { type: "search", id: "find-setting", placeholder: "Find a setting", oninput: seek });
  const presets = chooser(told.presets, { preset }, choose);
  const start = action("Start training", () => send(false), { kind: "primary", id: "start", title: "Ctrl+Enter" });
  const queue = action("Add to the queue", () => send(true), { id: "queue" });
  const more = h("button.plain.more", { type: "button", "aria-expanded": "false", onclick: () => more.setAttribute("aria-expanded", String(box.classList.toggle("open"))) }, side.brief);
  const box = h("aside.side", { "aria-label": "What it will take, and start" }, side.element, more, h("div.row.go", {}, start, queue));
  shown.field("dataset.folder").querySelector("input").after(h("div.row", {}, action("Browse…", async () => { const chosen = await browse("Choose a folder of pictures", value("dataset.folder") ?? ""); if (chosen) { shown.put("dataset.folder", chosen); onchange("dataset.folder"); folder(0); } })), look);
  fill(page, h("div.train", {},
    h("div.stack", {}, presets.element,
      h("div.row.between.tools", {}, h("div.grow", {}, h("label.hidden", { htmlFor: "find-setting" }, "Find a setting"), search), h("label.check", { htmlFor: "all-settings" }, all, h("span", {}, "All settings", folded))), found, place),
    box));
  actions.append(action("Save as preset", () => keeping(shown.values(), presets.refresh), { kind: "quiet" }), action("As TOML", () => written(shown.values(), take), { kind: "quiet" }), action("Start afresh", afresh, { kind: "quiet" }));

  all.checked = localStorage.getItem("train-all") === "yes";
  shown.advanced(all.checked);
  show(draft.own);
  keepDraft();
  document.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !document.querySelector("dialog[open]") && !start.disabled) { event.preventDefault(); start.click(); } });
  refresh(0);
  folder(0);

  function value(path) { return shown.values()[path]; }
  /** Show what lies below with the person's own values over it. */
  function show(own) {
    const from = Object.fromEntries(Object.keys(below.values).map((path) => [path, below.source]));
    for (const path of Object.keys(own)) from[path] = "yours";
    shown.set({ ...below.values, ...own }, from, { values: below.values, from: below.source });
    tally();
  }
  function own() { const values = shown.values(); return Object.fromEntries(shown.own().map((path) => [path, values[path] ?? ""])); }
  function keepDraft() { drafts.keep({ own: own(), preset, run }); }
  function tally() { const count = shown.folded(); folded.textContent = count ? ` (${count} more differ from the defaults)` : ""; }
  function seek() {
    const count = shown.search(search.value);
    found.textContent = search.value.trim() && !count ? `No setting of this kind of job has “${search.value.trim()}” in its name or its help.` : "";
  }
  function onchange(path) {
    if (OTHER[path] && value(path) && value(OTHER[path])) shown.put(OTHER[path], "");
    keepDraft();
    tally();
    if (path === "dataset.folder" || path === "dataset.trigger" || !path) folder();
    refresh(500);
  }
  async function choose(call) {
    const next = { values: {}, source: "", family: "", ...(call ? await get("/api/train/ground", { preset: call }) : {}) };
    const mine = own();
    preset = call; run = ""; below = next;
    delete mine["model.kind"];
    for (const [one, other] of Object.entries(OTHER)) if (mine[one] && next.values[other]) mine[other] = "";
    show(mine);
    onchange("");
  }
  /** The values of a text that was pasted, over nothing. */
  function take(values, problems) {
    const kinds = (spec) => !spec.only_if || (values[spec.only_if[0]] ?? told.specs.find((each) => each.path === spec.only_if[0])?.default) === spec.only_if[1];
    const usual = (path) => told.specs.find((spec) => spec.path === path && kinds(spec))?.default;
    preset = run = ""; below = { values: {}, source: "", family: "" };
    presets.show("");
    show(Object.fromEntries(Object.entries(values).filter(([path, each]) => JSON.stringify(each) !== JSON.stringify(usual(path)))));
    onchange("");
    shown.wrong(problems);
  }

  function refresh(pause) { turn += 1; clearTimeout(timer); timer = setTimeout(forecast, pause); side.busy(); }
  /** One question at a time: what is asked meanwhile is asked once, when this one is answered. */
  async function forecast() {
    if (asking) { again = true; return; }
    const mine = turn, values = shown.values();
    if (!values["dataset.folder"]) return side.waiting("Choose a folder of pictures, and this says what training will take: memory, time, disk.");
    asking = true;
    try {
      const answer = await post("/api/train/preflight", { values });
      if (mine === turn) answer.problems.length ? side.wrong(answer.problems, shown.wrong(answer.problems).left, (where) => jump(where)) : (shown.wrong([]), side.show(answer.told), presets.machine(answer.told.facts.device.split(",")[0], answer.told.numbers.memory_free / 2 ** 30));
    } catch (error) { if (mine === turn) side.failed(error); }
    asking = false;
    if (again) { again = false; forecast(); }
  }
  function jump(where) {
    if (search.value) { search.value = ""; seek(); }
    const at = shown.wrong([{ where, problem: "" }]).first;
    at ? (at.focus(), refresh(0)) : shown.focus(where);
  }

  async function folder(pause = 1200) {
    const mine = ++looked, path = value("dataset.folder");
    if (!path) return fill(look);
    await new Promise((done) => setTimeout(done, pause));
    if (mine !== looked) return;
    try {
      const there = await get("/api/train/folder", { path, trigger: value("dataset.trigger") ?? "" });
      if (mine === looked) fill(look, there.problem ? null : glance(there, value("dataset.trigger"))); // the field itself tells
    } catch (error) { if (mine === looked) fill(look); console.debug(error); }
  }

  async function send(toQueue, sure = false) {
    const answer = await post("/api/train/start", { values: shown.values(), queue: toQueue, sure });
    const twice = answer.problems.find((one) => one.where === "twice");
    if (twice) { if (await confirm(`${twice.problem.replace(/^./, (c) => c.toUpperCase())}. Start it once more?`, "Start it once more")) await send(toQueue, true); return; }
    if (search.value) { search.value = ""; seek(); }
    const { left, first } = shown.wrong(answer.problems);
    if (answer.problems.length) {
      side.wrong(answer.problems, left, jump);
      first?.focus();
      for (const one of left) tell({ message: one.where ? `${one.where}: ${one.problem}` : one.problem, hint: one.hint });
      if (first && answer.problems.length > 1) toast(`${answer.problems.length} settings need a look.`, "bad");
      return;
    }
    if (toQueue) { toast([`Job ${answer.job} waits in the queue. `, h("a", { href: "/queue" }, "Look at the queue")]); return; }
    location.href = `/runs?work=${encodeURIComponent(answer.work)}`;
  }
  async function afresh() {
    if (Object.keys(own()).length && !(await confirm("Forget what you typed here?", "Start afresh"))) return;
    drafts.forget();
    location.href = "/train";
  }
}

/** What the page opens with: the draft, or what the address asks for; the address is plain afterwards. */
function opened() {
  const from = asked("from"), preset = asked("preset"), folder = asked("folder");
  if (from && drafts.putAside()) toast([`What you typed before was put aside for the copy of ${from}. `, h("button.plain", { type: "button", onclick: () => { drafts.takeBack(); location.href = "/train"; } }, "Take it back")]);
  const draft = from ? { own: {}, preset: "", run: from } : drafts.restored();
  if (preset) { draft.preset = preset; draft.run = ""; }
  if (folder) draft.own["dataset.folder"] = folder;
  const epochs = asked("schedule.epochs");  // "continue longer" of a run's page
  if (from && /^\d{1,6}$/.test(epochs ?? "")) draft.own["schedule.epochs"] = Number(epochs);
  remember({ from: "", preset: "", folder: "", "schedule.epochs": "" });
  return draft;
}
function glance(there, trigger) {
  const words = [`${there.pictures} picture${there.pictures === 1 ? "" : "s"}, ${there.captions === there.pictures ? "all" : there.captions || "none"} with a caption. `];
  if (trigger?.trim() && there.captions) words.push(there.uncalled ? `${there.uncalled} caption${there.uncalled === 1 ? " lacks" : "s lack"} “${trigger.trim()}”. ` : `“${trigger.trim()}” is in each. `);
  if (!there.captions) words.push("A trigger and a class word below make one caption for all. ");
  return [h("div.some", {}, there.some.map((each) => h("img", { src: thumb(each, 160), alt: "", loading: "lazy" }))),
    h("p.note", {}, words, h("a", { href: `/dataset?folder=${encodeURIComponent(there.path)}` }, there.faults ? `${there.faults} file${there.faults === 1 ? " is" : "s are"} not used` : "Look at them"))];
}
/** Sections a person begins with come first. */
function ordered(specs) {
  const group = (spec) => (spec.path.includes(".") ? spec.path.split(".")[0] : "");
  const place = (spec) => { const at = ORDER.indexOf(group(spec)); return at < 0 ? ORDER.length : at; };
  return specs.map((spec, index) => ({ spec, index })).sort((a, b) => place(a.spec) - place(b.spec) || a.index - b.index).map(({ spec }) => spec);
}
