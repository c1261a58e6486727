// A job on paper: saved as a preset, shown as TOML, or taken from TOML that is pasted.
import { action, confirm, dialog, h, post, tell, toast } from "../core.js";

/** `saved(presets)` is told all presets, once another is there. */
export function keeping(values, saved) {
  const name = h("input", { type: "text", id: "preset-name", value: values.name ?? "" }), words = h("input", { type: "text", id: "preset-words", placeholder: "What it is for, in a sentence" });
  const save = async (replace) => {
    try {
      const told = await post("/api/train/preset", { asked: { values }, name: name.value, summary: words.value, replace });
      box.close(); saved(told.presets); toast(`Saved as the preset ${told.name}. Folders, prompts and names stay with you.`);
    } catch (error) {
      if (!replace && /already/.test(error.message) && await confirm(`${error.message.replace(/^./, (c) => c.toUpperCase())}. Replace it?`, "Replace")) return save(true);
      tell(error);
    }
  };
  const box = dialog("Save as preset", h("div.field", {}, h("label", { htmlFor: "preset-name" }, "Name"), name), h("div.field", {}, h("label", { htmlFor: "preset-words" }, "For what"), words), h("div.row", {}, action("Save", () => save(false), { kind: "primary" })));
  name.focus();
}

/** `take(values, problems)` gets what was pasted. */
export async function written(values, take) {
  const area = h("textarea.mono", { rows: 22, spellcheck: false, "aria-label": "The job as TOML" });
  const state = h("p.soft", {}, "Copy it for `sweetspot train FILE`, or paste another here and take its values.");
  try { area.value = (await post("/api/train/toml", { values })).text; }
  catch (error) { state.textContent = `This is not a whole job yet: ${error.where ? `${error.where}: ` : ""}${error.message}. You can paste one here and take its values.`; }
  const box = dialog("The job as TOML", state, area, h("div.row", {},
    action("Copy", async () => {
      try { await navigator.clipboard.writeText(area.value); toast("Copied."); }
      catch { area.select(); toast("The browser does not allow it; press Ctrl+C.", "bad"); }
    }),
    action("Take these values", async () => {
      const told = await post("/api/train/read", { text: area.value });
      box.close();
      take(told.values, told.problems);
    }, { kind: "primary" })));
}
