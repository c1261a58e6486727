// Choosing pictures: a folder by its path or from a list, or files that are dropped and put into a new folder.
import { action, bytes, dialog, duration, fill, get, h, post, tell, thumb, toast } from "../../core.js";

const BATCH_FILES = 40, BATCH_BYTES = 24e6, MOST_BYTES = 64e6;
const KNOWN = /\.(png|jpe?g|jpe|jfif|webp|avif|bmp|tiff?|txt)$|(^|\/)metadata\.(jsonl|csv)$/i;
const name = (path) => path.split(/[\\/]/).filter(Boolean).at(-1) ?? path;

/** What is shown while no folder is open. */
export async function chooser(place, open, folder = "") {
  const path = h("input", { type: "text", id: "folder", value: folder, placeholder: "Path of a folder", autocomplete: "off", spellcheck: false });
  const files = h("input", { type: "file", multiple: true, hidden: true, onchange: () => files.files.length && receive([...files.files].map((file) => ({ file, name: file.name })), open) });
  const tree = h("input", { type: "file", hidden: true, webkitdirectory: true, onchange: () => tree.files.length && receive([...tree.files].map((file) => ({ file, name: file.webkitRelativePath || file.name })), open) });
  const known = h("div.stack");
  fill(place, h("div.choose", {},
    h("section.card.stack", { "aria-label": "A folder of this computer" }, h("h2", {}, "Open a folder"), h("p.soft", {}, "Pictures stay where they are. Captions are text files beside them."),
      h("form.row", { onsubmit: (event) => { event.preventDefault(); open(path.value); } }, h("label.hidden", { htmlFor: "folder" }, "Path of a folder"), h("div.grow", {}, path), h("button.primary", {}, "Open"),
        action("Browse…", async () => { const chosen = await browse("Choose a folder of pictures", path.value); if (chosen) open(chosen); })), known),
    h("section.card.stack.drop", { "aria-label": "Pictures to bring in" }, h("h2", {}, "Or drop pictures here"), h("p.soft", {}, "5 to 50 pictures of one thing or one style are a good start. They are copied into a new folder of your naming, captions (.txt) too."),
      h("div.row", {}, h("button", { type: "button", onclick: () => files.click() }, "Choose pictures…"), h("button", { type: "button", onclick: () => tree.click() }, "Choose a whole folder…")), files, tree)));
  const { opened, demos } = await get("/api/dataset/known");
  const link = (each, words) => h("button.plain.known", { type: "button", title: each, onclick: () => open(each) }, words);
  fill(known, opened.length > 0 && h("div", {}, h("h3", {}, "Opened before"), h("ul.recent", {}, opened.map((each) => h("li", {}, link(each, [h("b", {}, name(each)), h("span.mono.soft", {}, each)]))))),
    h("div", {}, h("h3", {}, "Try the demo pictures"), h("div.demos", {}, demos.map(({ folder, title, pictures }) => h("button.demo", { type: "button", onclick: () => open(folder) }, h("span", {}, pictures.map((each) => h("img", { src: thumb(each, 160), alt: "" }))), h("span", {}, title))))));
}

/** Take what is dropped anywhere on the page. */
export function dropping(open) {
  const over = (on) => document.body.toggleAttribute("data-drop", on);
  const holds = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragover", (event) => { if (holds(event)) { event.preventDefault(); over(true); } });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) over(false); });
  addEventListener("drop", async (event) => {
    if (!holds(event)) return;
    event.preventDefault(); over(false);
    try { await receive(await dropped(event.dataTransfer), open); } catch (error) { tell(error); }
  });
}
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const plain = [...transfer.files].map((file) => ({ file, name: file.name }));
  if (!entries.some((entry) => entry.isDirectory)) return plain;
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) found.push({ file: await new Promise((ok, no) => entry.file(ok, no)), name: entry.fullPath.slice(1) });
    else {
      const reader = entry.createReader();
      for (;;) {
        const some = await new Promise((ok, no) => reader.readEntries(ok, no));
        if (!some.length) break;
        for (const one of some) await walk(one);
      }
    }
  };
  for (const entry of entries) await walk(entry);
  return found;
}

/** Ask for a name and put the files into a new folder, many requests one after another. */
async function receive(all, open) {
  const hidden = (each) => each.name.split("/").some((part) => part.startsWith("."));
  let files = all.filter((each) => KNOWN.test(each.name) && !hidden(each) && each.file.size <= MOST_BYTES);
  const left = all.filter((each) => !files.includes(each) && !hidden(each)).map((each) => ({ name: each.name, problem: each.file.size > MOST_BYTES ? `it is larger than ${bytes(MOST_BYTES)}` : "it is neither a picture nor a caption" }));
  if (!files.length) return toast(all.length ? `None of ${all.length} files is a picture or a caption. PNG, JPEG, WebP, AVIF, BMP and TIFF are read.` : "There was no file in what was dropped.", "bad");
  const tops = new Set(files.map((each) => each.name.split("/")[0]));
  const inFolder = tops.size === 1 && files.every((each) => each.name.includes("/"));
  if (inFolder) files = files.map((each) => ({ ...each, name: each.name.split("/").slice(1).join("/") }));
  const { place } = await get("/api/dataset/known");
  const box = await asking(files, left, inFolder ? [...tops][0] : "my-pictures", place);
  if (box) { await sending(files, left, box, open); }
}

function asking(files, left, suggested, place) {
  return new Promise((done) => {
    const pictures = files.filter((each) => !/\.(txt|jsonl|csv)$/i.test(each.name)).length;
    const called = h("input", { type: "text", value: suggested, id: "new-name", autocomplete: "off" });
    const where = h("span.mono", {}, place), wrong = h("p.problem", { role: "alert", hidden: true });
    let around = "", answer = null;
    const go = action("Bring them in", async () => {
      try { answer = (await post("/api/dataset/new", { name: called.value, place: around })).folder; box.close(); }
      catch (error) { wrong.hidden = false; wrong.textContent = `${error.message}${error.hint ? `. Try: ${error.hint}.` : ""}`; called.focus(); }
    }, { kind: "primary" });
    const box = dialog("Bring pictures in", h("p", {}, `${pictures} pictures and ${files.length - pictures} caption files, ${bytes(files.reduce((sum, each) => sum + each.file.size, 0))}, are copied into a new folder.`),
      left.length > 0 && h("p.advice", {}, `${left.length} files stay out: ${left.slice(0, 3).map((each) => `${each.name}, ${each.problem}`).join("; ")}${left.length > 3 ? "; …" : "."}`),
      h("form.field", { onsubmit: (event) => { event.preventDefault(); go.click(); } }, h("label", { htmlFor: "new-name" }, "Name of the new folder"), called, wrong),
      h("p.row", {}, h("span.soft", {}, "In"), where, action("Another place…", async () => { const chosen = await browse("Where to put the new folder", around || place); if (chosen) { around = chosen; where.textContent = chosen; } }, { kind: "plain" })),
      h("div.row", {}, go));
    box.addEventListener("close", () => done(answer));
    called.select();
  });
}

async function sending(files, left, folder, open) {
  const share = h("div.bar", { role: "progressbar", "aria-label": "Files brought in", "aria-valuemin": 0, "aria-valuemax": 100 }, h("i", { style: "width:0" })), words = h("p", { role: "status" });
  let going = true;
  const box = dialog("Bringing pictures in", share, words, h("div.row", {}, h("button", { type: "button", onclick: () => { going = false; } }, "Stop")));
  box.addEventListener("close", () => { going = false; });
  const began = performance.now(), total = files.reduce((sum, each) => sum + each.file.size, 0) || 1;
  let count = 0, size = 0, batch = [];
  const problems = [...left];
  const flush = async () => {
    if (!batch.length) return;
    const body = new FormData();
    body.set("folder", folder);
    for (const each of batch) { body.append("files", each.file, "file"); body.append("names", each.name); }
    const answer = await fetch("/api/dataset/receive", { method: "POST", body });
    const told = await answer.json();
    if (!answer.ok) throw Object.assign(new Error(told.problem), { hint: told.hint });
    problems.push(...told.filter((each) => each.problem));
    count += batch.length; size += batch.reduce((sum, each) => sum + each.file.size, 0); batch = [];
    const seconds = (performance.now() - began) / 1000;
    share.firstChild.style.width = `${100 * size / total}%`;
    share.setAttribute("aria-valuenow", Math.round(100 * size / total));
    words.textContent = `${count} of ${files.length} files, ${bytes(size / seconds)}/s, ${duration(seconds / size * (total - size))} left`;
  };
  try {
    let held = 0;
    for (const each of files) {
      if (!going) break;
      if (batch.length >= BATCH_FILES || (held && held + each.file.size > BATCH_BYTES)) { await flush(); held = 0; }
      batch.push(each); held += each.file.size;
    }
    if (going) await flush();
  } catch (error) { tell(error); }
  box.close();
  if (problems.length) leftOut(problems);
  if (count) open(folder);
}
const leftOut = (problems) => dialog(problems.length === 1 ? "A file was left out" : `${problems.length} files were left out`, h("ul.files", {}, problems.slice(0, 300).map((each) => h("li", {}, h("b", {}, each.name), ": ", each.problem))), problems.length > 300 && h("p.soft", {}, `and ${problems.length - 300} more`));

/** A dialog that lists folders; resolves to the chosen one's path, or to null. */
export function browse(title, start = "") {
  return new Promise((done) => {
    const path = h("input", { type: "text", "aria-label": "Path", spellcheck: false, autocomplete: "off" });
    const list = h("ul.folders", { "aria-label": "Folders" }), starts = h("div.row"), wrong = h("p.problem", { role: "alert", hidden: true });
    const choose = h("button.primary", { type: "button", onclick: () => { answer = at; box.close(); } }, "Choose this folder"), told = h("span.soft", { role: "status" });
    let at = "", answer = null;
    const box = dialog(title, starts, h("form.row", { onsubmit: (event) => { event.preventDefault(); go(path.value); } }, h("div.grow", {}, path), h("button", {}, "Go")), wrong, list, h("div.row.between", {}, told, choose));
    box.addEventListener("close", () => done(answer));
    const entry = (label, to, kind = "") => h("li", {}, h(`button.plain${kind}`, { type: "button", onclick: () => go(to) }, label));
    async function go(to, focus = true) {
      let there;
      try { there = await get("/api/dataset/places", { path: to }); wrong.hidden = true; }
      catch (error) { if (!at && to) return go("", focus); wrong.hidden = false; wrong.textContent = `${error.message}${error.hint ? `. Try: ${error.hint}.` : ""}`; return; }
      at = there.path;
      path.value = at;
      fill(starts, there.starts.slice(0, 10).map(([label, where]) => h("button.plain", { type: "button", title: where, onclick: () => go(where) }, label)));
      fill(list, there.above && entry("↑ The folder above", there.above), there.folders.map(([label, where]) => entry(label, where)), there.more > 0 && h("li.soft", {}, `and ${there.more} more: type the path`), !there.folders.length && h("li.soft", {}, "No folders in here"));
      told.textContent = there.pictures ? `${there.pictures} pictures in this folder` : "No pictures right in this folder";
      if (focus) list.querySelector("button")?.focus();
      list.scrollTop = 0;
    }
    go(start);
  });
}
