// One preset: what it says, in words; how it differs from another; how to give it away.
import { labelled } from "../../labelled.js";
import { action, confirm, dialog, fill, get, h, number, post, remember, tell, toast } from "../../core.js";

/** Open a preset's sheet; its reference stands in the address while it is open. */
export async function show(ref, all, changed) {
  let preset;
  try { preset = await get("/api/presets/one", { ref }); }
  catch (error) { remember({ one: "" }); return tell(error); }
  remember({ one: ref });
  const box = dialog(preset.name, said(preset), h("div.row", {}, ...buttons(preset, changed, () => box.close())), compared(preset, all), share(preset));
  box.classList.add("preset");
  box.addEventListener("close", () => { if (new URLSearchParams(location.search).get("one") === ref) remember({ one: "" }); });
}

/** What a preset says of itself: for a sheet, and for a preview. */
export function said(preset) {
  const fact = (name, value) => value !== "" && value !== null && value !== undefined && h("div", {}, h("dt", {}, name), h("dd", {}, value));
  const by = [preset.author && `By ${preset.author}`, preset.licence && `licence ${preset.licence}`, preset.shelf && (preset.own ? "one of your own" : `from ${preset.shelf}`)].filter(Boolean).join(", ");
  return h("div.stack", {},
    preset.sentence && h("p", {}, preset.sentence),
    h("dl.facts", {}, fact("Family", preset.family || "any"), fact("Purpose", preset.purpose), fact("Card", preset.card ? `${preset.card} GB` : ""), fact("Pictures", preset.resolution ? `${preset.resolution} px` : ""),
      fact("Rank / alpha", `${preset.rank} / ${number(preset.alpha)}`), fact("Rate × alpha / rank", number(preset.effective, 2)), fact("Length", preset.length), fact("Batch", preset.batch)),
    h("p", {}, preset.rate_in_words.replace(/^./, (c) => c.toUpperCase()), "."),
    preset.tested && h("p", {}, h("b", {}, "What was run: "), preset.tested),
    preset.sources?.length > 0 && h("details", {}, h("summary", {}, `Where the numbers come from (${preset.sources.length})`), h("ul.bullets", {}, preset.sources.map((source) => h("li", {}, source)))),
    h("p.note", {}, [by, preset.tags.length && `tags: ${preset.tags.join(", ")}`].filter(Boolean).join(" · ")));
}

/** Settings that differ, as a table in groups. */
export function table(rows, one, other) {
  if (!rows.length) return h("p.soft", {}, "No setting differs.");
  const groups = Map.groupBy ? Map.groupBy(rows, (row) => row.group) : grouped(rows);
  return h("div.scroll", { tabindex: "0", role: "group", "aria-label": "Settings" }, h("table.changes", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Setting"), h("th", { scope: "col" }, one), h("th", { scope: "col" }, other))),
    [...groups].map(([name, inner]) => h("tbody", {}, h("tr.group", {}, h("th", { colSpan: 3, scope: "rowgroup" }, name.replace(/^./, (c) => c.toUpperCase()))),
      inner.map((row) => h("tr", {}, h("th", { scope: "row", title: row.help }, row.label, h("span.path.mono", {}, row.path)), h("td.mono", {}, value(row.one, row.unit)), h("td.mono.new", {}, value(row.other, row.unit))))))));
}
const value = (words, unit) => (words === "" ? "–" : unit ? `${words} ${unit}` : words);
function grouped(rows) {
  const groups = new Map();
  for (const row of rows) groups.set(row.group, [...(groups.get(row.group) ?? []), row]);
  return groups;
}

/** The table, with a choice of what to compare with. `source` is {ref} or {string}. */
export function compared(preset, all, source = { ref: preset.ref }) {
  const place = h("div.stack", {}, table(preset.rows, "Default", preset.name));
  const rates = h("p.note");
  const choice = h("select", { "aria-label": "Compare with", onchange: async () => {
    try {
      const other = all.presets.find((each) => each.ref === choice.value);
      const found = await post("/api/presets/compare", { one: other ? { ref: other.ref } : {}, other: source });
      fill(place, table(found.rows, other?.name ?? "Default", preset.name));
      rates.textContent = other ? `${other.name}: ${found.rates[0]}` : "";
    } catch (error) { tell(error); }
  } }, h("option", { value: "" }, "the defaults"), all.presets.filter((each) => each.ref !== preset.ref).map((each) => h("option", { value: each.ref }, each.own ? `${each.name} (yours)` : each.name)));
  return h("section.stack", {}, h("div.row.between", {}, h("h3", {}, "Its settings"), h("label.row.note", {}, "compared with", choice)), place, rates);
}

function buttons(preset, changed, close) {
  const keep = async () => { close(); keepAs(preset, { ref: preset.ref }, changed); };
  return [
    h("a.button.primary", { href: `/train?preset=${encodeURIComponent(preset.call)}` }, "Use it to train"),
    h("button", { type: "button", onclick: keep }, preset.own ? "Change what it says" : "Keep a copy as mine"),
    preset.own && action("Delete", async () => {
      if (!(await confirm(`Delete your preset ${preset.name}? Runs that used it stay as they are.`, "Delete"))) return;
      await post("/api/presets/delete", { name: preset.name });
      close();
      await changed();
      toast(`${preset.name} is deleted`);
    }, { kind: "danger" }),
  ];
}

/** A name, and what the preset says of itself; kept among one's own, over another only when asked. */
export function keepAs(preset, source, changed, close = () => {}) {
  const box = dialog(`Keep ${preset.name}`, keeping(preset, source, async (ref) => { box.close(); close(); await changed(ref); }));
}

export function keeping(preset, source, kept) {
  const input = (name, value, more = {}) => h("input", { type: "text", name, value: value ?? "", autocomplete: "off", spellcheck: false, ...more });
  const fields = { name: input("name", preset.name, { required: true, maxLength: 64 }), sentence: h("textarea", { name: "sentence", rows: 2, value: preset.sentence ?? "", maxLength: 600 }), author: input("author", preset.author), licence: input("licence", preset.licence, { placeholder: "such as CC0-1.0" }), tags: input("tags", preset.tags.join(", ")), tested: h("textarea", { name: "tested", rows: 2, value: preset.tested ?? "", maxLength: 600 }) };
  const wrong = h("p.problem", { role: "alert", hidden: true });
  const row = (name, label, help) => labelled(label, fields[name], help);
  const save = async (replace) => {
    const about = Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, name === "tags" ? field.value.split(",").map((tag) => tag.trim()).filter(Boolean) : field.value.trim()]));
    const told = await post("/api/presets/keep", { preset: source, about, replace });
    if (!told.taken) { toast(`Kept as ${about.name}`); await kept(told.ref); }
    else if (await confirm(`You have a preset ${told.taken} already. Replace it with this one?`, "Replace", "Choose another name")) await save(true);
    else fields.name.select();
  };
  const button = action("Keep", async () => {
    wrong.hidden = true;
    try { await save(false); }
    catch (error) { wrong.hidden = false; fill(wrong, h("b", {}, error.where ? `${error.where}: ` : ""), error.message, error.hint && ` Try: ${error.hint}.`); fields[error.where]?.focus(); }
  }, { kind: "primary" });
  return h("form.stack", { onsubmit: (event) => { event.preventDefault(); button.click(); } }, h("div.fields", {}, row("name", "Name", "Letters, digits, dots, dashes, underscores."), row("author", "By"), row("licence", "Licence"), row("tags", "Tags", "Words to find it by, split by commas.")), row("sentence", "What it is for"), row("tested", "What was run with it, and what was not"), wrong, h("div.row", {}, button));
}

function share(preset) {
  const text = h("textarea.mono", { readOnly: true, rows: 3, value: preset.string, "aria-label": "The preset as a string", onfocus: () => text.select() });
  const copy = action("Copy", async () => {
    try { await navigator.clipboard.writeText(preset.string); }
    catch { text.select(); document.execCommand("copy"); }
    toast("The string is copied");
  });
  const ref = encodeURIComponent(preset.ref);
  const run = h("select", { "aria-label": "Pictures on the card" }, h("option", { value: "" }, "without pictures"));
  get("/api/presets/runs").then((runs) => run.append(...runs.map((name) => h("option", { value: name }, `before and after of ${name}`))), () => {});
  const card = action("Card", async () => {
    const answer = await fetch(`/api/presets/card?ref=${ref}&run=${encodeURIComponent(run.value)}`);
    if (!answer.ok) throw Object.assign(new Error((await answer.json()).problem), { hint: "" });
    const link = h("a", { href: URL.createObjectURL(await answer.blob()), download: `${preset.name}.png` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }, { title: "A picture that holds the preset; Import reads it" });
  return h("section.stack", {}, h("h3", {}, "Give it away"),
    h("p.note", {}, "It holds how to train, and nothing of whom or where: paths, trigger words, prompts and names stay on this computer."),
    h("div.row", {}, h("div.grow", {}, text), copy), h("div.row", {}, h("a.button", { href: `/api/presets/toml?ref=${ref}`, download: `${preset.name}.toml` }, "TOML file"), h("span.row", {}, card, run)));
}
