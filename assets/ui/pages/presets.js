// Presets: the library as cards, found by words and filters; one preset; taking in and giving away.
import { action, asked, empty, fill, get, h, number, remember } from "../core.js";
import { take } from "./presets/take.js";
import { make } from "./presets/make.js";
import { shelves } from "./presets/shelves.js";
import { show } from "./presets/one.js";

const PART = 96; // cards that are drawn at once

export async function draw(page, actions) {
  const all = { presets: [], libraries: [], problems: [] };
  const cards = new Map();
  let most = PART;
  const grid = h("div.tiles.presets");
  const count = h("p.note", { role: "status" });
  const more = h("button", { type: "button", hidden: true, onclick: () => { most += PART; list(); } }, "Show more");
  const problems = h("details.advice", { hidden: true });
  const bar = filters(() => { most = PART; list(); });
  fill(page, bar.element, problems, h("div.row.between", {}, count), grid, h("div.row.more", {}, more));
  actions.append(h("div.row", {}, action("Libraries", () => shelves(all, load), { kind: "quiet" }), action("New from a run", () => make(load)), action("Import", () => take(all, load), { kind: "primary" })));
  droppable(page, (files) => take(all, load, files));

  function list() {
    const found = all.presets.filter(bar.fits);
    remember(bar.values());
    const groups = grouped(found);
    const shown = groups.slice(0, most).map((group) => cardOf(group));
    if (!found.length) fill(grid, nothing());
    else if (shown.length !== grid.children.length || shown.some((card, i) => grid.children[i] !== card)) fill(grid, shown);
    count.textContent = found.length === all.presets.length ? `${found.length} presets` : `${found.length} of ${all.presets.length} presets`;
    more.hidden = groups.length <= most;
    more.textContent = `Show ${Math.min(PART, groups.length - most)} more`;
  }
  function cardOf(group) {
    const key = group.map((preset) => preset.ref).join("\n");
    if (!cards.has(key)) cards.set(key, card(group, open));
    return cards.get(key);
  }

  const nothing = () => (bar.values().from === "own" && !all.presets.some((p) => p.own)
    ? empty("You have no presets of your own yet", "Make one of a run that turned out well, take in one that somebody shared, or keep a copy of one that ships under your own name.", h("div.row", {}, action("New from a run", () => make(load)), action("Import", () => take(all, load), { kind: "primary" })))
    : empty("No preset fits", "Ask for less: fewer words, any card, or all sources.", h("button", { type: "button", onclick: () => bar.clear() }, "Show all")));

  async function load(ref = "") {
    Object.assign(all, await get("/api/presets/all"));
    cards.clear();
    bar.offer(all);
    problems.hidden = !all.problems.length;
    fill(problems, h("summary", {}, all.problems.length === 1 ? "1 file cannot be used" : `${all.problems.length} files cannot be used`), h("ul.stack", {}, all.problems.slice(0, 50).map((p) => h("li.mono", {}, `${p.where}: ${p.problem}`))));
    list();
    if (ref) open(ref);
  }
  const open = (ref) => show(ref, all, load);

  await load();
  const first = asked("one");
  if (first) await open(first);
}

/** Presets of one library that differ in the size of the card only stand together. */
function grouped(presets) {
  const groups = new Map();
  for (const preset of presets) {
    const size = `-${preset.card}gb`;
    const family = preset.card && preset.name.endsWith(size) ? `${preset.shelf}/${preset.name.slice(0, -size.length)}/` : preset.ref;
    if (!groups.has(family)) groups.set(family, []);
    groups.get(family).push(preset);
  }
  return [...groups.values()];
}

function card(group, open) {
  const [preset] = group;
  const several = group.length > 1;
  const title = several ? preset.name.slice(0, -`-${preset.card}gb`.length) : preset.name;
  const range = (of) => [...new Set([of(group[0]), of(group.at(-1))])].join(" to ");
  const facts = [preset.resolution && `${range((p) => p.resolution)} px`, `rank ${range((p) => p.rank)}`, preset.length, `rate × alpha / rank ${range((p) => number(p.effective, 2))}`].filter(Boolean);
  const go = (which) => (event) => { if (event.ctrlKey || event.metaKey) return; event.preventDefault(); open(which.ref); };
  const to = (which) => `/presets?one=${encodeURIComponent(which.ref)}`;
  return h("article.card.preset", { "data-ref": preset.ref },
    h("div.kinds", {}, preset.family && h("span.kind", {}, preset.family), preset.purpose && h("span.kind", {}, preset.purpose), !several && preset.card > 0 && h("span.kind", {}, `${preset.card} GB`), preset.own && h("span.kind.own", {}, "yours")),
    h("h3", {}, several ? title : h("a.open", { href: to(preset), onclick: go(preset) }, title)),
    preset.sentence && h("p.sentence", {}, several ? preset.sentence.replace(/ For cards of .*$/, "") : preset.sentence),
    h("p.note.figures", {}, facts.map((fact, i) => [i > 0 && " · ", h("span", { style: "white-space: nowrap" }, fact)])),
    preset.tested && h("p.note.tested", { title: preset.tested }, preset.tested),
    h("div.foot", {}, several
      ? h("div.sizes", { role: "group", "aria-label": `${title}, by card` }, group.map((each) => h("a.button", { href: to(each), onclick: go(each), "aria-label": `${title} for cards of ${each.card} GB` }, `${each.card} GB`)))
      : h("div.row.between", {}, h("span.note", {}, [preset.own ? "" : preset.shelf, preset.author && `by ${preset.author}`, preset.licence].filter(Boolean).join(" · ")), h("a.button.use", { href: `/train?preset=${encodeURIComponent(preset.call)}`, "aria-label": `Use ${preset.name}` }, "Use")),
      several && h("span.note", {}, [preset.shelf, preset.author && `by ${preset.author}`, preset.licence].filter(Boolean).join(" · "))));
}

/** Words and choices; they stand in the address, so that a reload keeps them. */
function filters(changed) {
  const words = h("input", { type: "search", placeholder: "Search name, purpose, tags…", "aria-label": "Search presets", value: asked("words") ?? "", oninput: changed });
  const choice = (name, label) => h("select", { name, "aria-label": label, onchange: changed });
  const family = choice("family", "Model family"), purpose = choice("purpose", "Purpose"), card = choice("card", "Card size"), from = choice("from", "Where it comes from");
  const read = { words: () => words.value.trim().toLowerCase(), family: () => family.value, purpose: () => purpose.value, card: () => card.value, from: () => from.value };
  for (const [select, any] of [[family, "Any family"], [purpose, "Any purpose"], [card, "Any card"], [from, "From everywhere"]]) options(select, any, [], String);
  let given = { family: asked("family"), purpose: asked("purpose"), card: asked("card"), from: asked("from") };
  const text = new Map();
  return {
    element: h("div.row.filters", { role: "search" }, h("div.grow", {}, words), family, purpose, card, from),
    offer({ presets }) {
      text.clear();
      for (const p of presets) text.set(p.ref, [p.name, p.sentence, p.family, p.author, p.shelf, ...p.tags].join(" ").toLowerCase());
      const different = (name) => [...new Set(presets.map((p) => p[name]).filter(Boolean))];
      options(family, "Any family", different("family").sort(), (f) => f, given.family);
      options(purpose, "Any purpose", different("purpose"), (f) => f, given.purpose);
      options(card, "Any card", different("card").sort((a, b) => a - b), (f) => `${f} GB`, given.card);
      options(from, "From everywhere", ["own", ...different("shelf").filter((s) => s !== "own")], (f) => (f === "own" ? "My own" : f === "built in" ? "Built in" : f), given.from);
      given = {};
    },
    values: () => Object.fromEntries(Object.entries(read).map(([name, of]) => [name, of()])),
    clear() { words.value = ""; for (const each of [family, purpose, card, from]) each.value = ""; changed(); words.focus(); },
    fits(preset) {
      const all = text.get(preset.ref);
      return read.words().split(/\s+/).every((word) => all.includes(word)) && (!read.family() || preset.family === read.family()) && (!read.purpose() || preset.purpose === read.purpose())
        && (!read.card() || String(preset.card) === read.card()) && (!read.from() || preset.shelf === read.from());
    },
  };
}

function options(select, any, values, words, given) {
  const before = given ?? select.value;
  fill(select, h("option", { value: "" }, any), values.map((value) => h("option", { value: String(value) }, words(value))));
  select.value = values.map(String).includes(before) ? before : "";
}

/** Files that are dropped anywhere on the page. */
function droppable(page, given) {
  document.addEventListener("dragover", (event) => { if ([...event.dataTransfer.types].includes("Files")) { event.preventDefault(); page.classList.add("dropping"); } });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) page.classList.remove("dropping"); });
  document.addEventListener("drop", (event) => {
    page.classList.remove("dropping");
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    given([...event.dataTransfer.files]);
  });
}
