// Libraries: folders and git repositories of presets, added, fetched anew, forgotten.
import { labelled } from "../../labelled.js";
import { action, confirm, dialog, fill, h, post, toast } from "../../core.js";

export function shelves(all, changed) {
  const list = h("ul.stack");
  const source = h("input", { type: "text", placeholder: "/path/to/a/folder or https://…/presets.git", autocomplete: "off", spellcheck: false });
  const name = h("input", { type: "text", placeholder: "as it is called there", autocomplete: "off", spellcheck: false });
  const wrong = h("p.problem", { role: "alert", hidden: true });
  const busy = h("p.soft", { role: "status" });

  const row = (shelf) => h("li.row.between.shelf", {}, h("div.grow", {}, h("b", {}, shelf.name), h("span.note", {}, ` ${shelf.count} presets`), h("p.mono.note", {}, shelf.source)),
    action("Remove", async () => {
      if (!(await confirm(shelf.copied ? `Remove the library ${shelf.name}? Its copy on this computer is deleted.` : `Remove the library ${shelf.name}? The folder stays where it is.`, "Remove"))) return;
      await post("/api/presets/library/remove", { name: shelf.name });
      await changed();
      draw();
    }));
  const draw = () => {
    fill(list, all.libraries.length ? all.libraries.map(row) : h("li.soft", {}, "No library was added yet."));
    update.hidden = !all.libraries.some((shelf) => shelf.copied);
  };
  const timed = async (words, work) => {
    const began = Date.now();
    const tick = () => { busy.textContent = `${words} ${Math.round((Date.now() - began) / 1000)} s`; };
    tick();
    const timer = setInterval(tick, 1000);
    try { return await work(); } finally { clearInterval(timer); busy.textContent = ""; }
  };
  const update = action("Fetch the repositories anew", async () => {
    const told = await timed("Fetching…", () => post("/api/presets/library/update"));
    await changed();
    draw();
    toast(told.map((one) => `${one.name}: ${one.count} presets`).join(", ") || "There is none to fetch");
  });
  const add = action("Add", async () => {
    wrong.hidden = true;
    try {
      const told = await timed("Reading…", () => post("/api/presets/library", { source: source.value, name: name.value }));
      source.value = name.value = "";
      await changed();
      draw();
      toast(`${told.name} is added, with ${told.count} presets`);
    } catch (error) { wrong.hidden = false; fill(wrong, h("b", {}, error.where ? `${error.where}: ` : ""), error.message, error.hint && ` Try: ${error.hint}.`); }
  }, { kind: "primary" });
  dialog("Libraries", h("p.soft", {}, "Presets of other people: a folder is read where it is, a git repository is copied. Presets are data; nothing of a library is run."), list, h("div.row", {}, update),
    h("form.stack", { onsubmit: (event) => { event.preventDefault(); add.click(); } }, h("div.fields", {}, labelled("Folder, or a git repository's address", source), labelled("Name", name)), wrong, h("div.row", {}, add, busy)));
  draw();
}
