// A form drawn from settings as `describe` tells them (app/ui/forms.py). It knows no setting by name.
//
// A spec: {path, kind, label, help, unit, step, why, default, choices, low, high, optional, required, advanced, only_if: [path, value]}
// The same path may stand there several times, for different kinds of plug-ins; one of them counts at a time.
import { h } from "./core.js";

/**
 * Draw the form into `place`. `titles` names sections; `together` puts several into one ({section: another});
 * `onchange(path)` hears of every change by a person. Returns:
 *   values()           what was typed, by path: only what counts for the chosen kinds; an empty field is left out
 *   own()              paths of what the person set
 *   set(values, from, under)  show these values by path, and say where each came from ({path: words});
 *                      `under` ({values, from}) is what a field goes back to; the default where it says nothing
 *   put(path, value)   give one field a value, as if the person had
 *   wrong(problems)    show each problem ({where, problem, hint}) at its field; returns those that have none
 *   search(words)      show the fields that hold the words only; returns how many; advanced(on) shows all settings
 *   folded()           how many settings that are folded away are not as by default
 */
export function form(place, specs, { titles = {}, together = {}, onchange = () => {}, skip = [] } = {}) {
  const fields = specs.filter((s) => !skip.includes(s.path)).map((spec) => field(spec, changed, back));
  const groups = new Map();
  for (const f of fields) {
    const name = together[section(f)] ?? section(f);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(f);
  }
  let all = false, words = "";
  const sections = [...groups].map(([name, inner]) => {
    const parts = [...new Set(inner.map(section))].map((key) => ({ head: h("h3.part", {}, titles[key] ?? title(key)), inner: inner.filter((f) => section(f) === key) }));
    const made = h("section.card.group", { "data-group": name }, h("h2", {}, titles[name] ?? title(name)), h("div.fields", {}, parts.map((part) => [parts.length > 1 && part.head, part.inner.map((f) => f.element)])));
    return { made, inner, parts };
  });
  place.append(...sections.map((s) => s.made));

  function chosen() {
    const held = {};
    for (const f of fields) if (!f.spec.only_if) held[f.spec.path] = f.read();
    return held;
  }
  const counts = (f, held) => !f.spec.only_if || held[f.spec.only_if[0]] === f.spec.only_if[1];
  function show() {
    const held = chosen();
    for (const f of fields) {
      const text = `${f.spec.label} ${f.spec.path} ${f.spec.help}`.toLowerCase();
      const found = f.element.dataset.wrong !== undefined || (words ? text.includes(words) : all || !f.spec.advanced || f.own);
      f.element.hidden = !(counts(f, held) && found);
      if (f.why) f.why.hidden = !(all || words);
    }
    for (const s of sections) {
      s.made.hidden = s.inner.every((f) => f.element.hidden);
      for (const part of s.parts) part.head.hidden = !(all || words) || part.inner.every((f) => f.element.hidden);
    }
  }
  function changed(f) {
    f.own = true; f.from("yours"); f.problem(null);
    show();
    onchange(f.spec.path);
  }
  /** A field takes what lies under it: then it is the person's no more. */
  function back(f) {
    f.write(f.under ? f.under.value : f.spec.default);
    if (!f.under) return changed(f);
    f.own = false; f.from(f.under.from); f.problem(null);
    show();
    f.input.focus();
    onchange(f.spec.path);
  }
  show();
  const find = (path) => { const held = chosen(); return fields.find((f) => f.spec.path === path && counts(f, held)); };
  /** The field that a problem with a part of it, or with a whole section, is best shown at. */
  function nearest({ where, problem }) {
    if (!where) return undefined;
    const held = chosen(), counted = fields.filter((f) => counts(f, held));
    const inner = counted.filter((f) => f.spec.path.startsWith(`${where}.`) && problem.includes(f.spec.path.slice(where.length + 1)));
    return counted.find((f) => where.startsWith(`${f.spec.path}.`)) ?? inner.find((f) => f.own) ?? inner[0];
  }
  return {
    values() {
      const held = chosen(), out = {};
      for (const f of fields) if (counts(f, held)) { const v = f.read(); if (v !== undefined) out[f.spec.path] = v; }
      return out;
    },
    own() { const held = chosen(); return fields.filter((f) => f.own && counts(f, held)).map((f) => f.spec.path); },
    set(values, from = {}, under = null) {
      const wanted = { ...Object.fromEntries(fields.map((f) => [f.spec.path, undefined])), ...values };
      for (const f of fields.filter((f) => !f.spec.only_if)) put(f, wanted, from, under);
      const held = chosen();
      for (const f of fields.filter((f) => f.spec.only_if)) counts(f, held) ? put(f, wanted, from, under) : put(f, {}, {}, under && {});
      show();
    },
    put(path, value) {
      const f = find(path);
      f.write(value); f.own = true; f.from("yours"); f.problem(null);
      show();
    },
    wrong(problems) {
      for (const f of fields) f.problem(null);
      const left = [];
      let first = null;
      for (const p of problems) {
        const f = find(p.where) ?? nearest(p);
        if (f) { f.problem(p); if (!first || fields.indexOf(f) < fields.indexOf(first)) first = f; } else left.push(p);
      }
      show();
      return { left, first: first && { path: first.spec.path, focus: () => first.focus() } };
    },
    search(text) { words = text.trim().toLowerCase(); show(); return fields.filter((f) => !f.element.hidden).length; },
    folded() {
      const held = chosen();
      return fields.filter((f) => f.spec.advanced && !f.own && counts(f, held) && f.text() !== f.usual).length;
    },
    advanced(on) { all = on; show(); },
    field: (path) => find(path)?.element,
    focus: (path) => find(path)?.focus(),
  };
}

function put(f, values, from, under) {
  const path = f.spec.path, lower = under?.values?.[path];
  f.write(values[path] === undefined ? f.spec.default : values[path]);
  f.under = under && { value: lower ?? f.spec.default, from: lower === undefined ? "" : under.from ?? "" };
  f.own = from[path] === "yours";
  f.from(from[path] ?? "");
  f.problem(null);
}

const section = (f) => (f.spec.path.includes(".") ? f.spec.path.split(".")[0] : "");
const title = (name) => (name ? name.replaceAll("_", " ").replace(/^./, (c) => c.toUpperCase()) : "This job");
let number = 0;

function field(spec, changed, back) {
  const id = `f${(number += 1)}-${spec.path.replaceAll(".", "-")}`;
  const input = widget(spec, id);
  const wrong = h("p.wrong", { id: `${id}-wrong`, role: "alert", hidden: true });
  const from = h("span.from");
  const why = spec.why ? h("span.why", {}, " ", coded(`Default: ${spec.why}`)) : null;
  const help = h("p.help", { id: `${id}-help` }, coded([spec.help, bounds(spec)].filter(Boolean).join(" ")), why);
  const label = h("label", { htmlFor: id }, spec.label, spec.required && h("span", { "aria-hidden": "true", title: "needed" }, " *"));
  const reset = h("button.plain.reset", { type: "button", hidden: true, onclick: () => back(f) }, "↺");
  const source = h("span.row", {}, from, reset), flag = spec.kind === "flag";
  const element = h("div.field", { "data-path": spec.path, "data-kind": spec.kind },
    h("div.top", {}, flag ? h("span.check", {}, input, label) : label, source), !flag && (spec.unit ? h("div.unit", {}, input, h("span", {}, spec.unit)) : input), wrong, help);
  input.setAttribute("aria-describedby", `${id}-help ${id}-wrong`);
  const f = {
    spec, element, input, why, own: false, under: null,
    read: () => read(spec, input),
    text: () => (flag ? String(input.checked) : input.value),
    write: (value) => write(spec, input, value),
    from(words) {
      from.textContent = from.title = words;
      from.className = words === "yours" ? "from own" : "from";
      reset.hidden = words !== "yours";
      const to = f.under ?? { value: spec.default, from: "" };
      reset.title = `Back to ${shown(to.value) || "empty"}${to.from ? `, as ${to.from} has it` : ", the default"}`;
      reset.setAttribute("aria-label", `${spec.label}: ${reset.title.toLowerCase()}`);
    },
    problem(told) {
      wrong.hidden = !told;
      wrong.textContent = told ? `${told.problem}${told.hint ? ` Try: ${told.hint}.` : ""}`.replace(/^./, (c) => c.toUpperCase()) : "";
      if (told) element.dataset.wrong = ""; else delete element.dataset.wrong;
      told ? input.setAttribute("aria-invalid", "true") : input.removeAttribute("aria-invalid");
    },
    focus() { element.hidden = false; input.focus(); element.scrollIntoView({ block: "center" }); },
  };
  input.addEventListener(spec.kind === "flag" || spec.kind === "choice" ? "change" : "input", () => changed(f));
  f.write(spec.default);
  f.usual = f.text();
  return f;
}

function widget(spec, id) {
  const name = { id, name: spec.path, spellcheck: false, autocomplete: "off" };
  switch (spec.kind) {
    case "flag": return h("input", { ...name, type: "checkbox" });
    case "choice": return h("select", name, spec.optional && h("option", { value: "" }, "–"), spec.choices.map((c) => h("option", { value: c }, c)));
    case "list": case "table": return h("textarea", { ...name, rows: 3, placeholder: spec.kind === "list" ? "One a line" : "name = value, one a line" });
    case "whole": case "real": return h("input", { ...name, type: "text", inputMode: "decimal", placeholder: spec.optional ? "chosen for you" : shown(spec.default) });
    default: return h("input", { ...name, type: "text", placeholder: spec.optional ? "none" : "" });
  }
}

function read(spec, input) {
  if (spec.kind === "flag") return input.checked;
  const text = input.value, isNumber = spec.kind === "whole" || spec.kind === "real";
  if (spec.kind === "list") return text.split("\n").filter((line) => line.trim()).map((line) => (spec.items === "text" ? whole(line) : plainNumber(line)));
  if (text.trim() === "") return spec.optional || spec.kind === "choice" || isNumber ? undefined : text;
  return isNumber ? plainNumber(text) : whole(text);
}
/** A field of one line shows where a text of several is broken, and keeps it. */
const BREAK = "⏎";
const whole = (text) => text.replaceAll(BREAK, "\n");
const oneLine = (text) => text.replaceAll("\r\n", "\n").replaceAll(/[\r\n]/g, BREAK);
/** Words between backticks stand in the type of code. */
const coded = (text) => text.split("`").map((part, i) => (i % 2 ? h("code", {}, part) : part));
/** A number where it is one, also with a decimal comma; else the text, for the server to say what is wrong with it. */
function plainNumber(text) {
  const trimmed = text.trim().replace(/^(-?0|-?\d+(?=,(?:\d{1,2}|\d{4,})$)),(\d+)$/, "$1.$2"); // 1,000 may be a thousand
  return trimmed !== "" && isFinite(Number(trimmed)) ? Number(trimmed) : text;
}
function write(spec, input, value) {
  if (spec.kind === "flag") input.checked = Boolean(value);
  else input.value = shown(value);
}
function shown(value) {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return value.map(shown).join("\n");
  if (typeof value === "number" && value !== 0 && Math.abs(value) < 1e-3) return value.toExponential().replace("e-0", "e-");
  return oneLine(String(value));
}
function bounds({ low, high }) {
  const [isLow, isHigh] = [low, high].map((bound) => bound !== null && bound !== undefined);
  if (isLow && isHigh) return `From ${shown(low)} to ${shown(high)}.`;
  return isLow ? `From ${shown(low)} up.` : isHigh ? `Up to ${shown(high)}.` : "";
}
