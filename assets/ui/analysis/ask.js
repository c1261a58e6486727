// The form of a sweep: what is rendered, how much of it, how it is judged, and what that costs, told while one types.
import { action, fill, get, h, post } from "../core.js";
import { form } from "../form.js";

const PARTS = [["What is rendered", ["strengths", "prompts", "plain_prompts", "seeds"]], ["How it is judged", ["rule", "weights", "metrics", "judge", "draws"]], ["How much of it", ["minutes", "renders", "fine", "processes", "together"]]];
const NAMED = [["base", "Base model", "demo, a folder, a .safetensors file, or a hub name."], ["family", "Family", "Told from the model when empty."], ["dataset", "Training pictures", "What the pictures are compared with."],
  ["trigger", "Trigger word", "Prompts are made from it when there are none."], ["class_word", "Class", "What the subject is: dog, man, vase."], ["held_out", "Held-out pictures", "Pictures of the same that were not trained on."], ["parts_from", "Missing parts", "A folder with what a single file lacks."]];
const FACTS = { compared: "Compared", pictures: "Pictures", time: "Time", disk: "Disk", prompts: "Prompts", "not used": "Not used" };

export async function draw(page, actions, source) {
  const key = `analysis form ${source.run || source.loras.join("|")}`;
  let told;
  try { told = await get("/api/analysis/form", { run: source.run, like: source.like }); }
  catch (error) { return fill(page, h("div.problem", {}, h("b", {}, error.message), error.hint && h("p", {}, error.hint)), h("div.row", {}, h("a.button", { href: "/analysis" }, "Choose another"))); }
  const main = h("div.stack.askform"), side = h("aside.card.cost", { "aria-label": "What it takes" });
  fill(page, heading(source, told), earlier(told), h("div.ask", {}, main, side));
  const named = source.run ? null : naming(main);
  const forms = drawForms(main, told, () => later());
  const boxes = named?.boxes ?? {};
  const read = () => ({ run: source.run, loras: source.loras, values: Object.assign({}, ...forms.map((one) => one.values())), named: Object.fromEntries(Object.entries(boxes).map(([name, box]) => [name, box.value])) });
  const draft = JSON.parse(sessionStorage.getItem(key) ?? "null");
  const given = Object.fromEntries(Object.keys(told.values).map((name) => [name, source.run ? "this run's job" : ""]));
  for (const one of forms) one.set({ ...told.values, ...draft?.values }, Object.fromEntries((draft?.own ?? []).map((name) => [name, "yours"])));
  for (const [name, value] of Object.entries({ ...told.named, ...draft?.named })) if (boxes[name]) boxes[name].value = value;
  const cost = costs(side, read, forms, boxes, key, given);
  let timer = 0;
  function later() {
    const own = forms.flatMap((one) => one.own());
    sessionStorage.setItem(key, JSON.stringify({ values: read().values, named: read().named, own }));
    clearTimeout(timer);
    timer = setTimeout(cost, 450);
  }
  for (const box of Object.values(boxes)) box.addEventListener("input", later);
  cost();
}

function heading(source, told) {
  const names = source.loras.map((path) => path.split(/[\\/]/).pop());
  return h("div.row.between", {}, h("div", {}, h("h2", {}, source.run || (names.length === 1 ? names[0] : `${names.length} paths`)),
    h("p.soft", {}, source.run ? `${told.files.length} LoRA file${told.files.length === 1 ? "" : "s"} of this run are compared` : names.slice(0, 4).join(", ") + (names.length > 4 ? ", …" : ""))),
    h("a.button.quiet", { href: "/analysis" }, "Choose another"));
}

function earlier(told) {
  const some = (told.analyses ?? []).filter((one) => one.headline);
  return some.length > 0 && h("p.advice", {}, "Analysed before: ", some.slice(-2).map((one) => [h("a", { href: `/analysis?work=${encodeURIComponent(one.name)}` }, one.headline), " "]));
}

function naming(main) {
  const boxes = Object.fromEntries(NAMED.map(([name]) => [name, h("input", { id: `named-${name}`, spellcheck: false, placeholder: name === "base" ? "demo" : "" })]));
  main.append(h("section.card.group", {}, h("h2", {}, "The model, and what was trained"), h("div.fields", {}, NAMED.map(([name, words, help]) => h("div.field", { "data-path": name }, h("label", { htmlFor: `named-${name}` }, words), boxes[name], h("p.help", {}, help))))));
  return { boxes };
}

function drawForms(main, told, onchange) {
  const known = new Set(PARTS.flatMap(([, paths]) => paths));
  const parts = [...PARTS, ["How pictures are made", told.specs.map((s) => s.path).filter((path) => !known.has(path))]];
  const all = h("input", { type: "checkbox", id: "all-settings" });
  const made = parts.map(([words, paths]) => form(main, paths.map((path) => told.specs.find((s) => s.path === path)).filter(Boolean), { titles: { "": words }, onchange }));
  all.addEventListener("change", () => made.forEach((one) => one.advanced(all.checked)));
  main.append(h("label.check", {}, all, "All settings"));
  return made;
}

function costs(side, read, forms, boxes, key) {
  const facts = h("dl.costs", { "aria-live": "polite" }, h("dt.soft", {}, "Working it out…"));
  const wrong = h("div.stack");
  const start = action("Start", async () => {
    const { work, problems } = await post("/api/analysis/start", read());
    if (show(problems)) return;
    sessionStorage.removeItem(key);
    location.href = `/analysis?work=${encodeURIComponent(work)}`;
  }, { kind: "primary" });
  fill(side, h("h2", {}, "What it takes"), facts, wrong, h("div.row", {}, start), h("p.note", {}, "Pictures that are there already are not rendered again. It goes on when this page is closed."));
  document.addEventListener("keydown", (event) => { if ((event.ctrlKey || event.metaKey) && event.key === "Enter") start.click(); });
  function show(problems) {
    let left = problems, first = null;
    for (const one of forms) { const found = one.wrong(left); left = found.left; first ??= found.first; }
    fill(wrong, left.map((p) => h("p.problem", { role: "alert" }, h("b", {}, p.problem), p.where && h("span.note", {}, ` ${p.where}`), p.hint && h("span", {}, ` Try: ${p.hint}.`))));
    start.disabled = problems.length > 0;
    side.classList.toggle("wrong", problems.length > 0);
    return problems.length ? (first ?? { focus() {} }) : null;
  }
  let asked = 0;
  return async function cost() {
    const mine = (asked += 1);
    facts.classList.add("old");
    let told;
    try { told = await post("/api/analysis/plan", read()); } catch (error) { told = { problems: [{ problem: error.message, hint: error.hint ?? "" }] }; }
    if (mine !== asked) return;
    facts.classList.remove("old");
    show(told.problems);
    if (!told.facts) return;
    fill(facts, Object.entries(FACTS).filter(([name]) => told.facts[name]).map(([name, words]) => h("div", {}, h("dt", {}, words), h("dd", {}, name === "prompts" ? h("ul", {}, told.facts.prompts.split("; ").slice(0, 12).map((one) => h("li", {}, one))) : told.facts[name]))));
  };
}
