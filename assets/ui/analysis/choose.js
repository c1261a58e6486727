// What to analyse: a run, LoRA files, or finished pictures; below, earlier analyses with their verdicts.
import { action, ago, badge, bar, empty, fill, get, h, poll, post, progress, remember, asked, thumb } from "../core.js";

export async function draw(page, actions) {
  const ways = h("section.card.ways", { "aria-label": "What to analyse" });
  const earlier = h("section.stack", { "aria-label": "Earlier analyses" });
  fill(page, ways, earlier);
  choices(ways);
  list(earlier);
}

const WAYS = [["run", "A run", runs], ["files", "LoRA files", files], ["pictures", "Finished pictures", pictures]];

function choices(place) {
  const inside = h("div.stack", { role: "tabpanel" });
  const tabs = h("div.tabs", { role: "tablist", "aria-label": "What to analyse" }, WAYS.map(([key, words]) => h("button", { type: "button", role: "tab", "data-key": key, onclick: () => show(key) }, words)));
  const drawn = new Map();
  function show(key) {
    for (const tab of tabs.children) { tab.setAttribute("aria-selected", tab.dataset.key === key); tab.tabIndex = tab.dataset.key === key ? 0 : -1; }
    if (!drawn.has(key)) drawn.set(key, WAYS.find((way) => way[0] === key)[2]());
    fill(inside, drawn.get(key));
    remember({ from: key === "run" ? "" : key });
  }
  tabs.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const all = [...tabs.children], next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
    show(next.dataset.key); next.focus();
  });
  fill(place, h("div.row.between", {}, h("h2", {}, "Analyse"), tabs), inside);
  show(WAYS.some((way) => way[0] === asked("from")) ? asked("from") : "run");
}

function runs() {
  const found = h("ul.runrows", {}, h("li.soft", {}, "Looking…"));
  const more = h("p.note", { "aria-live": "polite" }), together = h("div.row.runs-acts");
  const picked = new Map();
  const pick = (run, on) => {
    if (on) picked.set(run.name, run); else picked.delete(run.name);
    const some = [...picked.values()];
    const to = () => new URLSearchParams({ loras: some.map((one) => `${one.path}/lora`).join("\n"), like: some[0].name });
    fill(together, some.length > 1 ? h("a.button.primary", { href: `/analysis?${to()}` }, `Compare these ${some.length} runs`) : some.length === 1 && h("p.note", {}, "Tick another run to compare them in one grid."));
  };
  const box = h("input", { type: "search", placeholder: "Find a run", "aria-label": "Find a run" });
  let timer = 0;
  const look = async () => {
    try {
      const told = await get("/api/analysis/runs", { words: box.value.trim() });
      if (!told.count && !box.value.trim()) return fill(found, h("li", {}, empty("There is no run yet", "Train a LoRA first, or name LoRA files that you have.", h("div.row", {}, h("a.button.primary", { href: "/train" }, "Train a LoRA")))));
      fill(found, told.runs.map((run) => runRow(run, picked.has(run.name), pick)));
      if (!told.runs.length) fill(found, h("li.soft", {}, "No run is called so."));
      more.textContent = told.count > told.runs.length ? `${told.count - told.runs.length} more: type a part of the name` : "";
    } catch (error) { fill(found, h("li.problem", {}, error.message)); }
  };
  box.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(look, 250); });
  look();
  return [h("div.finder", {}, box), found, more, together];
}

function runRow(run, on, pick) {
  const none = !run.files;
  const words = [`${run.files || "no"} LoRA file${run.files === 1 ? "" : "s"}`, run.analyses ? `${run.analyses} ${run.analyses === 1 ? "analysis" : "analyses"}` : "not analysed yet"].join(", ");
  const inner = [run.picture ? h("img", { src: thumb(run.picture, 160), alt: "", loading: "lazy", width: 48, height: 48 }) : h("span.nopic"),
    h("span.grow", {}, h("b", {}, run.name), h("span.note", {}, none ? `${words}: wait for its first epoch` : words)), badge(run.status), h("span.note.when", {}, ago(run.latest))];
  const tick = h("input", { type: "checkbox", checked: on, disabled: none, "aria-label": `Compare ${run.name} with others`, onchange: () => pick(run, tick.checked) });
  return h("li.runline", {}, tick, none ? h("div.runrow.off", {}, inner) : h("a.runrow", { href: `/analysis?run=${encodeURIComponent(run.name)}` }, inner));
}

function files() {
  const box = h("textarea", { rows: 4, id: "loras", placeholder: "/loras/fox-000010.safetensors\n/loras/fox-000020.safetensors", spellcheck: false });
  box.value = localStorage.getItem("analysis loras") ?? "";
  const go = action("Choose what to render", async () => {
    const lines = box.value.split("\n").map((line) => line.trim().replace(/^"|"$/g, "")).filter(Boolean);
    if (!lines.length) { box.focus(); throw new Error("Name a LoRA file or a folder of them first"); }
    localStorage.setItem("analysis loras", box.value);
    location.href = `/analysis?${new URLSearchParams({ loras: lines.join("\n") })}`;
  }, { kind: "primary" });
  return [h("div.field", {}, h("label", { htmlFor: "loras" }, "Files, or folders of them"), box, h("p.help", {}, "One path a line, in the order of training unless the files tell their epoch. From this or another trainer: kohya's and Diffusers' layouts are read.")), h("div.row", {}, go)];
}

const PICTURES = [["folder", "Folder of pictures", "Names that tell epoch and strength, like fox_e04_s0.8_p1.png or epoch_04.png."],
  ["control", "The base model's pictures", "A folder with a picture for each of them, or one picture for all. Without them only the ancestors' rule has something to say."],
  ["pattern", "How names are made", "Only when it is not found out by itself, like e{epoch}_s{strength}_p{prompt}."],
  ["dataset", "Training pictures", "To find copies of them."]];

function pictures() {
  const draft = JSON.parse(localStorage.getItem("analysis pictures") ?? "{}");
  const boxes = Object.fromEntries(PICTURES.map(([name]) => [name, h("input", { id: `pictures-${name}`, value: draft[name] ?? "", spellcheck: false })]));
  const rule = h("select", { id: "pictures-rule" }, h("option", { value: "sweetspot" }, "sweetspot: the most learned whose quality holds"), h("option", { value: "ancestor" }, "ancestor: the lowest BRISQUE"));
  rule.value = draft.rule ?? "sweetspot";
  const wrong = h("p.wrong", { role: "alert", hidden: true });
  const read = () => ({ ...Object.fromEntries(Object.entries(boxes).map(([name, box]) => [name, box.value.trim()])), rule: rule.value });
  for (const box of [...Object.values(boxes), rule]) box.addEventListener("input", () => localStorage.setItem("analysis pictures", JSON.stringify(read())));
  const go = action("Score these pictures", async () => {
    wrong.hidden = true;
    try {
      const { work } = await post("/api/analysis/pictures", read());
      location.href = `/analysis?work=${encodeURIComponent(work)}`;
    } catch (error) { wrong.hidden = false; wrong.textContent = `${error.message}${error.hint ? ` Try: ${error.hint}.` : ""}`; (boxes[error.where] ?? boxes.folder).focus(); }
  }, { kind: "primary" });
  return [h("div.fields", {}, PICTURES.map(([name, words, help]) => h("div.field", {}, h("label", { htmlFor: `pictures-${name}` }, words), boxes[name], h("p.help", {}, help))), h("div.field", {}, h("label", { htmlFor: "pictures-rule" }, "Rule"), rule)), h("div.field", {}, wrong), h("div.row", {}, go)];
}

function list(place) {
  const head = h("h2", {}, "Earlier analyses"), tiles = h("div.tiles.analyses"), more = h("div.row");
  const cards = new Map();
  let wanted = 24;
  fill(place, head, tiles, more);
  poll(async () => {
    const works = [];
    let count = 0;
    do {
      const told = await get("/api/analysis/list", { skip: works.length });
      count = told.count;
      if (!told.analyses.length) break;
      works.push(...told.analyses);
    } while (works.length < Math.min(wanted, count));
    place.hidden = !count;
    tiles.replaceChildren(...works.map((work) => keptCard(cards, work)));
    fill(more, count > works.length && h("button", { type: "button", onclick: () => { wanted += 24; } }, `Show more of ${count}`));
    return works.some((work) => work.status === "running" || work.status === "waiting") ? 2000 : 8000;
  });
}

function keptCard(cards, work) {
  const now = JSON.stringify(work), known = cards.get(work.name);
  if (known?.now === now) return known.made;
  const made = card(work);
  if (known?.made.contains(document.activeElement)) queueMicrotask(() => made.focus());
  cards.set(work.name, { now, made });
  return made;
}

function card(work) {
  const { share, words } = progress(work);
  const short = work.short ?? {}, done = Boolean(short.headline);
  return h("a.card.analysis", { href: `/analysis?work=${encodeURIComponent(work.name)}` },
    short.picture ? h("img.picture", { src: thumb(short.picture), alt: short.choice ? "A picture of the chosen setting" : "A picture of the base model", loading: "lazy" }) : h("div.picture"),
    h("h3", {}, short.title && short.kind !== "run" ? short.title : work.name.split("/")[0] === "sweeps" ? work.name.split("/").slice(1).join("/") : work.name.split("/")[0]),
    h("div.row.between", {}, done && work.status !== "running" ? h(`span.state.${short.state === "chosen" ? "good" : "open"}`, {}, short.state) : badge(work.status), h("span.note", {}, ago(work.latest || work.made))),
    work.status === "running" && bar(share, words), work.status === "running" && h("p.note", {}, words),
    done ? h("p", {}, short.headline) : work.problem ? h("p.note", {}, work.problem) : null);
}
