// The form of the Generate page. Its values are kept in the browser until they are changed.
import { fill, get, h, tell } from "../core.js";
import { choose, nameOf } from "./generate-loras.js";

const KEY = "generate";
const TEXTS = ["prompt", "negative"];
const NUMBERS = ["seed", "pictures", "width", "height", "steps", "guidance"];

export function draft() {
  try { return JSON.parse(localStorage.getItem(KEY)) ?? {}; } catch { return {}; }
}

/** `onask(values)` asks the server and returns {id} or {problems}; `last()` is the newest order. */
export function form({ onask, last }) {
  const inputs = {}, wrongs = {};
  const uses = []; // {file, strength, row, about}
  const list = h("ul.uses"), chips = h("div.row.chips");
  const wrong = h("p.wrong", { role: "alert", hidden: true });

  const field = (name, label, input, help) => {
    const id = `g-${name}`;
    inputs[name] = Object.assign(input, { id, name, autocomplete: "off" });
    wrongs[name] = h("p.wrong", { id: `${id}-wrong`, role: "alert", hidden: true });
    input.setAttribute("aria-describedby", `${id}-wrong`);
    input.addEventListener("input", () => { say(name, ""); save(); });
    return h("div.field", { "data-path": name }, h("label", { htmlFor: id }, label), input, wrongs[name], help && h("p.help", {}, help));
  };
  const text = (rows, placeholder) => h("textarea", { rows, placeholder, maxLength: 20000 });
  const small = (placeholder) => h("input", { type: "text", inputMode: "decimal", placeholder });
  const base = h("select", {}, h("option", { value: "" }, "the LoRA's own"));
  const again = h("button", { type: "button", onclick: () => { inputs.seed.value = last()?.asked.seed ?? ""; say("seed", ""); save(); }, disabled: true, title: "Fixes the seed of the newest picture" }, "Last seed");
  const other = h("details.other", {}, h("summary", {}, "Size, steps, guidance, base model"), h("div.fields", {},
    field("width", "Width, px", small("as trained")), field("height", "Height, px", small("as the width")),
    field("steps", "Steps", small("as usual")), field("guidance", "Guidance", small("as usual"))),
    field("base", "Base model", base), h("p.note.ground", {}));
  const go = h("button.primary.go", { type: "submit" }, "Generate");
  const element = h("form.card.stack", { "aria-label": "What to render", onsubmit: (event) => { event.preventDefault(); submit(); } },
    h("div.field", { "data-path": "loras" }, h("div.row.between", {}, h("span.label", {}, "LoRAs"), h("button", { type: "button", onclick: () => choose(add) }, "Add a LoRA")), list, wrong),
    field("prompt", "Prompt", text(3, "What to show")), chips,
    field("negative", "Not to show", text(1, "")),
    h("div.pairs", {}, field("pictures", "Pictures", small("1")), h("div.seed", {}, field("seed", "Seed", small("drawn")), again)),
    other, go);
  element.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); submit(); } });
  get("/api/generate/bases").then((found) => { const kept = base.value; for (const each of found) offer(each); base.value = kept; }).catch(tell);

  function offer(value) {
    if (value && ![...base.options].some((one) => one.value === value)) base.append(h("option", { value }, value === "demo" ? "the demo model" : value));
  }
  function values() {
    const out = { loras: uses.map(({ file, strength }) => ({ file, strength: plain(strength) ?? 1 })), base: base.value };
    for (const name of TEXTS) out[name] = inputs[name].value;
    for (const name of NUMBERS) { const value = plain(inputs[name].value); if (value !== undefined) out[name] = value; }
    return out;
  }
  const save = () => { try { localStorage.setItem(KEY, JSON.stringify(values())); } catch { /* a full or forbidden store: the form works without */ } };

  function say(name, words) {
    const place = wrongs[name] ?? wrong, input = inputs[name];
    place.hidden = !words;
    place.textContent = words;
    if (input) words ? input.setAttribute("aria-invalid", "true") : input.removeAttribute("aria-invalid");
    const around = place.closest(".field");
    if (words) around.dataset.wrong = ""; else delete around.dataset.wrong;
  }
  function showProblems(problems) {
    for (const one of problems) {
      const [name, index] = one.where.split(".");
      const words = `${one.problem}${one.hint ? `. Try: ${one.hint}.` : ""}`.replace(/^./, (c) => c.toUpperCase());
      if (name === "loras" && uses[index]) uses[index].say(words);
      else if (inputs[name] || name === "loras") say(name, words);
      else tell({ message: `${one.problem}${one.where ? ` (${one.where})` : ""}`, hint: one.hint });
      if (other.contains(inputs[name])) other.open = true;
    }
    const first = inputs[problems[0].where.split(".")[0]];
    (first ?? list.querySelector("input") ?? go).focus();
  }

  async function submit() {
    if (go.disabled) return;
    go.disabled = true; go.setAttribute("aria-busy", "true");
    for (const name of Object.keys(inputs)) say(name, "");
    say("loras", "");
    uses.forEach((use) => use.say(""));
    try { const told = await onask(values()); if (told.problems) showProblems(told.problems); } catch (error) { tell(error); }
    go.disabled = false; go.removeAttribute("aria-busy");
  }

  function add(file, strength = 1) {
    if (uses.some((use) => use.file === file)) return;
    const use = oneUse({ file, strength, onchange: save, onremove: () => { uses.splice(uses.indexOf(use), 1); use.row.remove(); told(); save(); } });
    uses.push(use);
    list.append(use.row);
    told(); save();
    get("/api/generate/lora", { path: file }).then((about) => { use.know(about); told(); }).catch((error) => use.say(`${error.message}${error.hint ? `. Try: ${error.hint}.` : ""}`));
  }
  /** What is usual for the LoRAs that are chosen: shown where a field is empty. */
  function told() {
    const known = uses.map((use) => use.about).filter(Boolean);
    const own = known.find((about) => about.known) ?? known[0];
    inputs.steps.placeholder = own ? String(own.usual.steps) : "as usual";
    inputs.guidance.placeholder = own ? String(own.usual.guidance) : "as usual";
    inputs.width.placeholder = own?.usual.side ? String(own.usual.side) : "the model's own";
    base.options[0].textContent = own?.known ? `the LoRA's own (${own.base})` : own ? "the demo model (the LoRA's own is not known)" : "the demo model";
    other.querySelector(".ground").textContent = own && !own.known ? "This LoRA lies in no run, so nothing tells which model it was trained on. Choose that one." : "";
    fill(chips, [...new Set(known.flatMap((about) => about.prompts))].slice(0, 6).map((words) =>
      h("button.chip-button", { type: "button", onclick: () => { inputs.prompt.value = words; say("prompt", ""); save(); inputs.prompt.focus(); } }, words)));
    if (!uses.length) fill(list, h("li.note", {}, "None: the base model alone.")); else list.querySelector(".note:not(.sub)")?.remove();
  }

  return {
    element,
    set(given) {
      for (const name of TEXTS) inputs[name].value = given[name] ?? "";
      for (const name of NUMBERS) inputs[name].value = given[name] === 0 && ["width", "height"].includes(name) ? "" : given[name] ?? "";
      offer(given.base);
      base.value = given.base ?? "";
      for (const use of uses.splice(0)) use.row.remove();
      for (const use of given.loras ?? []) add(use.file, use.strength);
      told(); save();
    },
    known(order) { again.disabled = !order; },
    focus: () => inputs.prompt.focus(),
  };
}

function oneUse({ file, strength, onchange, onremove }) {
  const number = h("input", { type: "text", inputMode: "decimal", value: String(strength), "aria-label": `Strength of ${nameOf(file)}` });
  const slide = h("input", { type: "range", min: 0, max: 1.6, step: 0.05, value: strength, "aria-label": `Strength of ${nameOf(file)}, by a slider` });
  const note = h("span.note.sub"), bad = h("p.wrong", { role: "alert", hidden: true });
  const use = {
    file, strength, about: null,
    say(words) { bad.hidden = !words; bad.textContent = words; },
    know(about) {
      use.about = about;
      note.textContent = [about.run, about.epoch && `epoch ${about.epoch}`, about.strength && `the verdict: ${about.strength}`, !about.run && about.family].filter(Boolean).join(" · ");
    },
    row: h("li.use", { title: file }, h("div.row.between", {}, h("b", {}, nameOf(file)), h("button.plain", { type: "button", "aria-label": `Remove ${nameOf(file)}`, onclick: onremove }, "✕")),
      note, h("div.strength", {}, slide, number), bad),
  };
  slide.addEventListener("input", () => { number.value = slide.value; use.strength = slide.value; onchange(); });
  number.addEventListener("input", () => { use.strength = number.value; if (isFinite(Number(number.value))) slide.value = number.value; use.say(""); onchange(); });
  return use;
}

/** A number where it is one; else the text, for the server to say what is wrong with it. */
function plain(text) {
  const trimmed = String(text).trim().replace(/^(-?\d+),(\d+)$/, "$1.$2");
  if (trimmed === "") return undefined;
  return isFinite(Number(trimmed)) ? Number(trimmed) : trimmed;
}
