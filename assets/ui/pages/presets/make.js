// A preset of a run: what of it is shared, and what stays here unless it is asked for.
import { labelled } from "../../labelled.js";
import { asked, dialog, fill, get, h, post } from "../../core.js";
import { compared, keeping, said } from "./one.js";

export async function make(changed, chosen = asked("run")) {
  const runs = await get("/api/presets/runs");
  if (!runs.length) return dialog("New from a run", h("p", {}, "There is no run yet. Train a LoRA first; what worked can then be kept as a preset."), h("div.row", {}, h("a.button.primary", { href: "/train" }, "Train a LoRA")));
  const personal = h("fieldset.stack"), place = h("div.stack");
  const run = h("select", { onchange: () => choose() }, runs.map((name) => h("option", { value: name }, name)));
  if (runs.includes(chosen)) run.value = chosen;
  const box = dialog("New from a run", h("p.soft", {}, "A preset holds how the run trained. Paths, the trigger and prompts stay here."), labelled("Run", run), personal, place);

  async function choose() {
    const own = await get("/api/presets/personal", { run: run.value });
    fill(personal, own.length > 0 && h("legend.note", {}, "Put in all the same:"), own.map((one) => h("label.check", {}, h("input", { type: "checkbox", value: one.path, onchange: () => look() }), h("span", {}, one.label, h("span.note", {}, ` ${[one.value].flat().join(", ").slice(0, 160)}`)))));
    await look();
  }
  async function look() {
    const include = [...personal.querySelectorAll("input:checked")].map((input) => input.value);
    const name = run.value.replace(/^\d{4}-\d\d-\d\d-/, "").replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 64) || "mine";
    try {
      const found = await post("/api/presets/of-run", { run: run.value, about: { name }, include });
      fill(place, said(found), compared(found, { presets: [] }, { string: found.string }), h("h3", {}, "Keep it"), keeping(found, { string: found.string }, async (ref) => { box.close(); await changed(ref); }));
    } catch (error) { fill(place, h("div.problem", { role: "alert" }, h("b", {}, error.where ? `${error.where}: ` : ""), error.message, error.hint && ` Try: ${error.hint}.`)); }
  }
  await choose();
  return box;
}
