// Generate: LoRAs, a prompt and a seed on one side; what they made on the other, newest first.
import { action, asked, empty, fill, get, h, poll, post, remember, tell, toast } from "../core.js";
import { draft, form } from "./generate-form.js";
import { order } from "./generate-orders.js";

const FIRST = 30;

export async function draw(page, actions) {
  const shelf = h("section.stack.orders", { "aria-label": "What was made" });
  const model = h("div.row.model");
  const settings = form({ onask: ask, last: () => latest });
  const upload = h("input", { type: "file", accept: "image/png", hidden: true, onchange: () => { open(upload.files[0]); upload.value = ""; } });
  actions.append(h("button.quiet", { type: "button", onclick: () => upload.click(), title: "Fills the form from a PNG; dropping one on the page does too" }, "Open a picture's recipe"), upload);
  fill(page, h("div.studio", {}, h("div.bench", {}, settings.element, model), shelf));
  const more = h("button", { type: "button", hidden: true, onclick: () => { count += FIRST; turn.now(); } }, "Show older pictures");
  const made = new Map();
  let count = FIRST, latest = null;

  const actionsOf = {
    ask,
    use: (given, seed) => { settings.set({ ...given, seed }); settings.element.scrollIntoView({ block: "start" }); settings.focus(); toast("The form has these settings now"); },
    changed: () => turn.now(),
  };
  function show(told) {
    latest = told.orders.find((row) => row.asked && !row.asked.control) ?? null;
    settings.known(latest);
    const seen = new Set(told.orders.map((row) => row.id));
    for (const [id, each] of made) if (!seen.has(id)) { each.element.remove(); made.delete(id); }
    let before = null;
    for (const row of [...told.orders].reverse()) {
      if (!made.has(row.id)) made.set(row.id, order(row, actionsOf));
      const each = made.get(row.id);
      each.update(row, told.progress);
      if (each.element.nextElementSibling !== before || each.element.parentElement !== list) list.insertBefore(each.element, before);
      before = each.element;
    }
    nothing.hidden = told.orders.length > 0;
    more.hidden = !told.more;
    tellModel(told);
  }
  const list = h("div.stack");
  const nothing = empty("No pictures yet", "Choose a LoRA, say what to show, and press Generate. Without a LoRA the base model is shown, which is good to compare with.");
  fill(shelf, nothing, list, more);
  nothing.hidden = true;

  let alive = null;
  function tellModel(told) {
    const now = told.alive ? (told.progress?.phase === "idle" ? "idle" : "busy") : "";
    if (now === alive) return;
    alive = now;
    fill(model, now === "idle" && [h("p.note.grow", {}, "The model stays in memory for a while, so that the next picture begins at once."),
      action("Free the memory", async () => { await post("/api/generate/free"); turn.now(); }, { kind: "plain" })]);
  }

  const turn = poll(async () => {
    const told = await get("/api/generate/state", { shown: count });
    show(told);
    return told.orders.some((row) => ["waiting", "running"].includes(row.status)) ? 700 : told.alive ? 3000 : 6000;
  });

  async function ask(values, quiet = false) {
    const told = await post("/api/generate/ask", values);
    if (!told.id && !quiet) return told;
    if (!told.id) throw Object.assign(new Error(told.problems[0].problem), { hint: told.problems[0].hint });
    turn.now();
    return told;
  }

  async function open(file) {
    if (!file) return;
    try {
      if (file.size > 32e6) throw Object.assign(new Error("the file is too large to be a picture of ours"), { hint: "a PNG below 32 MB" });
      const answer = await fetch("/api/generate/recipe", { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });
      const told = await answer.json();
      if (!answer.ok) throw Object.assign(new Error(told.problem), { hint: told.hint });
      const missing = told.loras.filter((use) => !use.file);
      settings.set({ ...told, base: told.loras.length > missing.length ? "" : told.base === "demo" ? "demo" : "", loras: told.loras.filter((use) => use.file) });
      settings.focus();
      toast("The form has the picture's settings now");
      if (missing.length) toast(`These LoRAs are not among your runs: ${missing.map((use) => use.name || "one without a name").join(", ")}. Add them by path.`, "bad");
    } catch (error) { tell(error); }
  }
  takeDrops(open);

  settings.set(draft());
  await fromAddress(settings);
}

/** Another page may send a run, a LoRA file, a strength, a prompt. */
async function fromAddress(settings) {
  const [run, lora, prompt] = ["run", "lora", "prompt"].map(asked);
  if (!run && !lora && !prompt) return;
  try {
    let use = lora && { file: lora, strength: Number(asked("strength") || 1) };
    if (run) {
      const racks = await get("/api/generate/loras", { words: run });
      const rack = racks.find((each) => each.run === run);
      if (!rack) throw Object.assign(new Error(`The run ${run} has no LoRA file yet.`), { hint: "wait for its first epoch" });
      const kept = rack.files.find((file) => String(file.epoch) === asked("epoch")) ?? rack.files[0];
      use = { file: kept.path, strength: Number(asked("strength") || kept.strength || 1) };
    }
    settings.set({ ...draft(), ...(use ? { loras: [use], base: "" } : {}), ...(prompt ? { prompt } : {}) });
  } catch (error) { tell(error); }
  remember({ run: "", lora: "", prompt: "", strength: "", epoch: "" });
}

function takeDrops(open) {
  const over = (event) => { if ([...event.dataTransfer.types].includes("Files")) { event.preventDefault(); document.body.classList.add("dropping"); } };
  const away = () => document.body.classList.remove("dropping");
  document.addEventListener("dragover", over);
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) away(); });
  document.addEventListener("drop", (event) => {
    away();
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    open(event.dataTransfer.files[0]);
  });
}
