// Taking a preset in: a file, a picture, a string, or another trainer's settings. Always looked at first.
import { action, dialog, fill, get, h } from "../../core.js";
import { compared, keeping, said } from "./one.js";

const MOST = 64 * 2 ** 20;
const KINDS = {
  suspicious: ["Look at these", "They do not do what one may think, there or here."],
  reported: ["Not known", "No such setting is known of that trainer."],
  mapped: ["Taken over", "And how they were converted."],
  explained: ["Left out", "They have no equivalent here, or are of no concern."],
};

/** Open the dialog; with files, look at the first at once. */
export function take(all, changed, files = []) {
  const place = h("div.stack", { "aria-live": "polite" });
  const text = h("textarea.mono", { rows: 4, placeholder: "sweetspot:1:… or the text of a settings file", "aria-label": "A preset's string, or settings as text" });
  const look = async (name, content) => {
    fill(place, h("p.soft", {}, "Reading…"));
    try { fill(place, preview(await send(name, content), all, async (ref) => { box.close(); await changed(ref); })); }
    catch (error) { fill(place, h("div.problem", { role: "alert" }, h("b", {}, error.where ? `${error.where}: ` : ""), error.message, error.hint && h("p.note", {}, `Try: ${error.hint}.`))); }
    place.scrollIntoView({ block: "nearest" });
  };
  const file = h("input.hidden", { type: "file", accept: ".toml,.txt,.png,.json,.yaml,.yml,.safetensors", "aria-label": "A file", onchange: () => file.files[0] && look(file.files[0].name, file.files[0]) });
  const zone = h("div.drop", {}, h("p", {}, "Drop a file here: a preset (.toml, .txt), its card (.png), settings of kohya_ss, sd-scripts, ai-toolkit, OneTrainer or SimpleTuner, or a LoRA file."), h("button", { type: "button", onclick: () => file.click() }, "Choose a file"), file);
  const box = dialog("Import a preset", zone,
    h("div.row", {}, h("div.grow", {}, text), action("Look at it", () => (text.value.trim() ? look("pasted.txt", new Blob([text.value])) : text.focus()))),
    h("p.note", {}, "Nothing of it is run. You see what it would change before it is kept."), place);
  zone.addEventListener("drop", () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => { const given = event.dataTransfer.files[0]; if (given) { event.preventDefault(); event.stopPropagation(); look(given.name, given); } });
  if (files.length) look(files[0].name, files[0]);
}

/** Ask the server what it is. Of a LoRA file only the head is sent, where its settings stand. */
async function send(name, content) {
  if (name.toLowerCase().endsWith(".safetensors") && content.size > 8) {
    const length = Number(new DataView(await content.slice(0, 8).arrayBuffer()).getBigUint64(0, true));
    content = content.slice(0, 8 + Math.min(length, MOST));
  }
  if (content.size > MOST) throw Object.assign(new Error("it is larger than 64 MB, which no preset and no settings file is"), { where: name });
  const { ask } = await import("../../core.js");
  return ask(`/api/presets/read?name=${encodeURIComponent(name)}`, { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: content });
}

/** What would be taken in, and the way to do it. */
export function preview(found, all, kept) {
  const parts = [];
  if (found.trainer) parts.push(account(found));
  if (found.refused) parts.push(h("div.problem", {}, h("b", {}, "No preset can be made of it: "), `${found.refused.where ? `${found.refused.where}: ` : ""}${found.refused.problem}`));
  if (!found.string) return parts;
  return [...parts, h("h3", {}, found.trainer ? "The preset it makes" : found.name), said(found), compared(found, all, { string: found.string }),
    h("section.stack.keep", {}, h("h3", {}, "Keep it"), found.have && h("p.note", {}, `You have a preset ${found.name} already; you are asked before it is replaced.`), found.hides.length > 0 && h("p.note.warned", {}, `By this name, ${found.name} will mean your own preset; the other is then called ${found.hides.join(", ")}.`), keeping(found, { string: found.string }, kept))];
}

/** What became of each key of another trainer's settings. */
function account(found) {
  const lines = (kind) => found.account.filter((line) => line.kind === kind);
  const section = (kind) => {
    const [title, why] = KINDS[kind], rows = lines(kind);
    return rows.length > 0 && h("details", { open: kind === "suspicious" || kind === "reported" }, h("summary", {}, `${title} (${rows.length})`), h("p.note", {}, why),
      h("div.scroll", { tabindex: "0", role: "group", "aria-label": title }, h("table.account", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Key"), h("th", { scope: "col" }, "There"), h("th", { scope: "col" }, "Here"))),
        h("tbody", {}, rows.map((line) => h("tr", {}, h("th.mono", { scope: "row" }, line.key), h("td.mono", {}, line.value), h("td", {}, line.told)))))));
  };
  return h("section.stack", {}, h("h3", {}, `Settings of ${found.trainer}`), h("p", {}, `${found.files.join(" and ")}: ${found.keys} keys, ${Object.entries(found.counts).filter(([, n]) => n).map(([kind, n]) => `${n} ${KINDS[kind][0].toLowerCase()}`).join(", ")}.`),
    found.problems.map((problem) => h("p.advice", {}, problem)), Object.keys(KINDS).map(section),
    found.assumed.length > 0 && h("details", {}, h("summary", {}, `Assumed (${found.assumed.length})`), h("p.note", {}, "What the file leaves to its trainer's defaults, where ours are others."), h("ul.bullets", {}, found.assumed.map((line) => h("li", {}, h("span.mono", {}, line.ours), `: ${line.told}`)))));
}
