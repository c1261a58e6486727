// Keeping a LoRA file: a copy of it where one likes, with the verdict in its header.
import { action, dialog, fill, h, post } from "../core.js";

export function keep(sheet, setting) {
  const found = sheet.report.checkpoints.find((one) => one.epoch === setting.epoch);
  const folder = h("input", { id: "keep-folder", value: localStorage.getItem("keep folder") ?? "", placeholder: "/path/to/ComfyUI/models/loras", spellcheck: false });
  const name = h("input", { id: "keep-name", value: found?.file ?? "", spellcheck: false });
  const bake = h("input", { type: "checkbox", id: "keep-bake" }), over = h("input", { type: "checkbox", id: "keep-over" });
  const overRow = h("label.check", { hidden: true }, over, "Replace the file that is there");
  const told = h("div", { "aria-live": "polite" });
  const go = action("Copy it there", async () => {
    const separator = folder.value.includes("\\") ? "\\" : "/";
    if (!folder.value.trim()) { folder.focus(); return fill(told, h("p.problem", {}, "Name a folder first.")); }
    if (!name.value.trim().endsWith(".safetensors")) name.value = `${name.value.trim() || "lora"}.safetensors`;
    localStorage.setItem("keep folder", folder.value);
    try {
      const kept = await post("/api/analysis/keep", { work: sheet.name, ...setting, to: folder.value.trim().replace(/[\\/]+$/, "") + separator + name.value.trim(), bake: bake.checked, overwrite: over.checked });
      fill(told, h("div.done", {}, h("b", {}, "Kept."), h("p.mono", {}, kept.path), h("p", {}, kept.strength === 1 ? "Use it at strength 1." : `Use it at strength ${kept.strength}.`),
        h("a.button", { href: `/generate?${new URLSearchParams({ lora: kept.path, strength: kept.strength })}` }, "Generate with it")));
      overRow.hidden = true; over.checked = false;
    } catch (error) {
      if (/there|taken|exist/.test(error.message)) overRow.hidden = false;
      fill(told, h("p.problem", { role: "alert" }, h("b", {}, error.message), error.where && h("span.note", {}, ` ${error.where}`), error.hint && ` Try: ${error.hint}.`));
    }
  }, { kind: "primary" });
  dialog(`Keep ${sheet.called(setting.epoch, setting.strength)}`, h("p.soft", {}, "The verdict goes into the file's header, so that it can be read later what it was chosen for."),
    h("div.field", {}, h("label", { htmlFor: "keep-folder" }, "Folder"), folder), h("div.field", {}, h("label", { htmlFor: "keep-name" }, "File name"), name),
    h("div", {}, h("label.check", {}, bake, `Multiply strength ${setting.strength} in, so that it is used at 1`), overRow), h("div.row", {}, go), told).classList.add("narrow");
  folder.focus();
}
