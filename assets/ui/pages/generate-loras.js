// Choosing a LoRA: from a run, the verdict's epoch first, or by the path of a file.
import { action, dialog, empty, fill, get, h } from "../core.js";

export const nameOf = (file) => file.split(/[\\/]/).pop().replace(/\.safetensors$/, "");

/** Ask for a LoRA; `add(file, strength)` is called with it. */
export function choose(add) {
  const words = h("input", { type: "search", placeholder: "Find a run", "aria-label": "Find a run" });
  const list = h("div.stack.racks", { "aria-live": "polite" }, h("p.soft", {}, "Looking…"));
  const path = h("input", { type: "text", id: "lora-path", placeholder: "/folder/name.safetensors", autocomplete: "off", spellcheck: false });
  const take = (file, strength) => { add(file, strength); box.close(); };
  const byPath = action("Add", async () => { const about = await get("/api/generate/lora", { path: path.value }); take(about.path, about.strength ?? 1); });
  path.addEventListener("keydown", (event) => { if (event.key === "Enter") byPath.click(); });
  const box = dialog("Add a LoRA", words, list,
    h("div.field", {}, h("label", { htmlFor: "lora-path" }, "Or a file from anywhere"), h("div.row", {}, h("div.grow", {}, path), byPath)));
  box.classList.add("choosing");
  let timer = 0, asked = 0;
  async function look() {
    const mine = (asked += 1);
    let racks;
    try { racks = await get("/api/generate/loras", { words: words.value }); }
    catch (error) { return fill(list, h("p.problem", {}, error.message)); }
    if (mine !== asked) return null;
    if (!racks.length) return fill(list, words.value ? h("p.soft", {}, "No run with a LoRA has this name.") : empty("No run has a LoRA yet", "Train one, or name a file below.", h("a.button", { href: "/train" }, "Train a LoRA")));
    return fill(list, racks.map((rack) => rackOf(rack, take)));
  }
  words.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(look, 200); });
  words.focus();
  look();
}

const FEW = 6;
function rackOf(rack, take) {
  const buttons = rack.files.map((kept) => h(`button${kept.strength ? ".chosen" : ""}`, { type: "button", title: kept.path, onclick: () => take(kept.path, kept.strength ?? 1) },
    kept.label, kept.strength && h("span.note", {}, `the verdict, at ${kept.strength}`)));
  const rest = buttons.slice(FEW);
  return h("section", {}, h("h3", {}, rack.run), rack.headline && h("p.note", {}, rack.headline), h("div.row", {}, buttons.slice(0, FEW)),
    rest.length > 0 && h("details", {}, h("summary", {}, `${rest.length} more`), h("div.row", {}, rest)));
}
