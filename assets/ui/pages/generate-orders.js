// One order on the Generate page: what was asked, its pictures as they come, and what to do with them.
import { action, bar, confirm, dialog, duration, fill, get, h, picture, post, tell, thumb, toast } from "../core.js";
import { compare } from "../compare.js";
import { nameOf } from "./generate-loras.js";

/** `actions`: ask(values, quiet), use(asked, seed), changed(). Returns {element, update(row, progress)}. */
export function order(row, actions) {
  const tiles = h("div.made"), state = h("div.state"), buttons = h("div.row.doing");
  const title = h("h2", {}, row.asked?.prompt ?? "Pictures of another version");
  const element = h("article.card.order", { "data-id": row.id, "aria-label": row.asked?.prompt ?? row.id },
    h("header", {}, h("div.grow", {}, title, row.asked && h("p.note.figures", {}, summary(row.asked))), buttons), state, tiles);
  const shown = new Map();
  let stage = "", current = row;
  const side = row.asked?.width && row.asked?.height ? `${row.asked.width} / ${row.asked.height}` : "1";
  const going = (now) => now.status === "waiting" || now.status === "running";

  function update(now, progress) {
    current = now;
    const wanted = row.asked && going(now) ? row.asked.pictures : now.pictures.length;
    for (let i = 0; i < wanted; i += 1) place(i, now.pictures[i]);
    for (const [i, each] of shown) if (i >= wanted) { each.element.remove(); shown.delete(i); }
    tellState(now, progress);
    if (stage === now.status) return;
    stage = now.status;
    fill(buttons, going(now) ? action("Cancel", async () => { await post("/api/generate/stop", { id: now.id }); actions.changed(); }) : [
      row.asked && h("button", { type: "button", onclick: () => actions.use(row.asked) }, "Use settings"),
      row.asked && h("a.button", { href: sweepOf(row.asked) }, "Sweep"),
      action("Remove", async () => {
        if (!now.pictures.length || await confirm(now.pictures.length > 1 ? `Remove these ${now.pictures.length} pictures for good?` : "Remove this picture for good?", "Remove", "Keep")) { await post("/api/generate/remove", { id: now.id }); actions.changed(); }
      }, { kind: "quiet" })]);
  }

  function place(i, told) {
    const before = shown.get(i);
    if (before && before.path === told?.path) return;
    const made = told ? tile(told) : h("figure", {}, h("div.picture.coming", { style: `aspect-ratio:${side}` }));
    if (before) before.element.replaceWith(made); else tiles.append(made);
    shown.set(i, { element: made, path: told?.path });
  }

  function tile(told) {
    const name = `${row.asked?.prompt ?? "A picture"}, seed ${told.seed}`;
    return h("figure", {}, h("button.look", { type: "button", "aria-label": `Look at ${name}`, onclick: () => view(row, told, () => current.pictures, actions) },
      h("img.picture", { src: thumb(told.path, 640), alt: name, loading: "lazy", style: `aspect-ratio:${side}` })),
      h("figcaption.row.between", {}, h("span.note.figures", {}, `seed ${told.seed}`), row.asked?.loras.length > 0 && h("span.row", {}, beside(row, told), stronger(row, told, actions))));
  }

  function tellState(now, progress) {
    const words = stateOf(now, progress);
    if (state.dataset.told === JSON.stringify(words)) return;
    state.dataset.told = JSON.stringify(words);
    if (going(now)) return fill(state, bar(words.share, words.words), h("p.note.figures", {}, words.words));
    fill(state, words.problem && h("p.problem", {}, h("b", {}, `${words.problem}. `), words.hint && `Try: ${words.hint}.`), words.words && h("p.note", {}, words.words));
    return null;
  }
  update(row, null);
  return { element, update };
}

const PHASES = { load: "Reading the base model", idle: "Starting", "": "Starting" };
function stateOf(now, progress) {
  if (now.status === "waiting") return { share: 0, words: "Waiting for its turn" };
  if (now.status === "running") {
    if (progress?.phase !== "steps") return { share: null, words: PHASES[progress?.phase ?? ""] ?? progress.phase };
    const each = progress.total / (now.asked?.pictures || 1);
    const picture = Math.min(now.asked?.pictures || 1, now.pictures.length + 1);
    return { share: progress.done / progress.total, words: `Picture ${picture} of ${now.asked?.pictures || 1}, step ${progress.done % each || 1} of ${each}${progress.left === null ? "" : `, ${duration(progress.left)} left`}` };
  }
  if (now.status === "stopped") return { words: now.pictures.length ? "Cancelled after these." : "Cancelled." };
  if (now.problem) return { problem: `${now.where && now.where !== "Sweetspot itself" ? `${now.where}: ` : ""}${now.problem}`.replace(/^./, (c) => c.toUpperCase()), hint: now.hint };
  return {};
}

function summary(asked) {
  const loras = asked.loras.map((use) => `${nameOf(use.file)} at ${use.strength}`).join(" + ") || "the base model alone";
  return [loras, `${asked.steps} steps`, `guidance ${asked.guidance}`, asked.width ? `${asked.width} × ${asked.height} px` : "", `base ${asked.base}`, asked.negative && `not ${asked.negative}`].filter(Boolean).join(" · ");
}

/** The settings of one picture, as they are asked for again. */
function again(row, told) {
  const { prompt, negative, width, height, steps, guidance, loras, base } = row.asked;
  return { prompt, negative, steps, guidance, loras, base, seed: told.seed, pictures: 1, ...(width ? { width, height } : {}) };
}

function sweepOf(asked) {
  const first = asked.loras[0]?.file ?? "";
  const run = first.match(/([^\\/]+)[\\/]lora[\\/][^\\/]+$/)?.[1];
  const where = run ? { run } : first ? { lora: first } : {};
  return `/analysis?${new URLSearchParams({ ...where, prompt: asked.prompt })}`;
}

/** The base model's picture of the same settings beside this one; rendered first where it is not there. */
const beside = (row, told, words = "Compare", kind = "plain") => action(words, async () => {
  const { path, id } = await post("/api/generate/control", { id: row.id, seed: told.seed });
  if (id) await ended(id);
  const strengths = row.asked.loras.map((use) => use.strength).join(" + ");
  compare(row.asked.prompt, { src: picture(path), label: "Base model" }, { src: picture(told.path), label: `LoRA at ${strengths}` });
}, { kind, title: "With the base model's picture of the same seed" });

async function ended(id) {
  for (;;) {
    const now = await get("/api/generate/order", { id });
    if (now.status === "completed") return;
    if (now.status !== "waiting" && now.status !== "running") throw Object.assign(new Error(now.problem || "The base model's picture was cancelled."), { hint: now.hint });
    await new Promise((done) => setTimeout(done, 500));
  }
}

/** The same seed with other strengths. */
const stronger = (row, told, actions, words = "Strength…", kind = ".plain") => h(`button${kind}`, { type: "button", onclick: () => {
  const inputs = row.asked.loras.map((use) => h("input", { type: "text", inputMode: "decimal", value: String(use.strength) }));
  const go = action("Render", async () => {
    const loras = row.asked.loras.map((use, i) => ({ file: use.file, strength: Number(inputs[i].value.trim().replace(",", ".")) }));
    if (loras.some((use) => !isFinite(use.strength) || Math.abs(use.strength) > 10)) throw Object.assign(new Error("A strength is a number from -10 to 10."), { hint: "0.8" });
    await actions.ask({ ...again(row, told), loras }, true);
    box.close();
  }, { kind: "primary" });
  const box = dialog(`Seed ${told.seed} at another strength`, h("div.fields", {}, row.asked.loras.map((use, i) => h("label.field", {}, h("span.label", {}, nameOf(use.file)), inputs[i]))), h("div.row", {}, go));
  box.classList.add("choosing");
  for (const input of inputs) input.addEventListener("keydown", (event) => { if (event.key === "Enter") go.click(); });
  inputs[0].select();
} }, words);

/** One picture large, with its recipe; the arrow keys go to its neighbours. */
function view(row, told, pictures, actions) {
  let shown = told;
  const image = h("img.large", { src: picture(shown.path), alt: "" }), side = h("div.stack.recipe");
  const box = dialog(row.asked?.prompt ?? "A picture", h("div.viewer", {}, image, side));
  const order = row.asked;
  function draw() {
    image.src = picture(shown.path);
    image.alt = `${order?.prompt ?? "A picture"}, seed ${shown.seed}`;
    fill(side, order && facts({ Seed: shown.seed, LoRAs: order.loras.map((use) => `${nameOf(use.file)} at ${use.strength}`).join("\n") || "none", Steps: order.steps, Guidance: order.guidance, "Not to show": order.negative || "–", "Base model": order.base }),
      order && h("div.row", {}, order.loras.length > 0 && [beside(row, shown, "Compare with the base model", ""), stronger(row, shown, actions, "Other strength…", "")],
        h("button", { type: "button", onclick: () => { box.close(); actions.use(order, shown.seed); } }, "Use with this seed"), action("Copy recipe", () => copy(row, shown))),
      h("div.row", {}, h("a.button", { href: picture(shown.path), download: `${(order?.prompt ?? "picture").replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60)}-${shown.seed}.png` }, "Save picture"), order && h("a.button", { href: sweepOf(order) }, "Sweep")),
      pictures().length > 1 && h("p.note", {}, "← and → show its neighbours."));
  }
  box.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const all = pictures(), next = step && all[all.findIndex((one) => one.path === shown.path) + step];
    if (next) { shown = next; draw(); event.preventDefault(); }
  });
  draw();
}

const facts = (told) => h("dl.told", {}, Object.entries(told).map(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]));

async function copy(row, told) {
  const { prompt, negative, steps, guidance, width, height, loras, base } = row.asked;
  const words = [[prompt, ...loras.map((use) => `<lora:${nameOf(use.file)}:${use.strength}>`)].join(" "), negative && `Negative prompt: ${negative}`,
    `Steps: ${steps}, CFG scale: ${guidance}, Seed: ${told.seed}${width ? `, Size: ${width}x${height}` : ""}, Model: ${base}`].filter(Boolean).join("\n");
  try {
    await navigator.clipboard.writeText(words);
    toast("The recipe is copied");
  } catch (error) {
    if (error instanceof TypeError || error.name === "NotAllowedError") dialog("The recipe", h("textarea", { rows: 6, readOnly: true, "aria-label": "The recipe" }, words)).querySelector("textarea").select();
    else tell(error);
  }
}
