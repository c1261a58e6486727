// Settings: one form and one button for what is saved; folders, token and theme act at once.
import { action, confirm, fill, get, h, post, tell, toast } from "../core.js";
import { form } from "../form.js";

const DRAFT = "settings-draft";

export async function draw(page, actions) {
  const told = await get("/api/settings/all");
  const place = h("div.stack"), trouble = h("div", { "aria-live": "polite" });
  const specs = told.specs.map((spec) => (spec.path === "device" ? { ...spec, kind: "choice", choices: [...new Set(["auto", told.values.device])] } : spec));
  const shown = form(place, specs, { titles: { "": "Work and look" }, onchange });
  shown.advanced(true);
  const save = action("Save", send, { kind: "primary" });
  actions.append(save);
  show(told.values);
  restore();
  if (told.problem) fill(trouble, h("p.problem", { role: "alert" }, h("b", {}, "The settings file cannot be read. "), told.problem, " The defaults count until you save; the old file is kept beside the new one."));
  fill(page, trouble, place, folders(told.opened), hub(told.token, told.offline), facts(told.facts));
  for (const path of told.fixed) fix(path);
  devices();

  function show(values) { shown.set({ ...values, theme: localStorage.getItem("theme") ?? values.theme }); }
  function onchange(path) {
    if (path === "theme") return look(shown.values().theme);
    const values = shown.values();
    localStorage.setItem(DRAFT, JSON.stringify(Object.fromEntries(shown.own().filter((p) => p !== "theme").map((p) => [p, values[p]]))));
  }
  function restore() {
    let draft = {};
    try { draft = JSON.parse(localStorage.getItem(DRAFT)) ?? {}; } catch { localStorage.removeItem(DRAFT); }
    const names = Object.keys(draft).filter((path) => path in told.values && draft[path] !== told.values[path]);
    if (names.length) shown.set({ ...told.values, ...draft, theme: shown.values().theme }, Object.fromEntries(names.map((path) => [path, "yours"])));
  }
  async function send() {
    const { problems, values } = await post("/api/settings/save", shown.values());
    const { left, first } = shown.wrong(problems);
    if (problems.length) { first?.focus(); for (const one of left) tell({ message: one.problem, hint: one.hint }); return; }
    localStorage.removeItem(DRAFT);
    show(values);
    fill(trouble);
    toast("Saved. New work follows it; what runs goes on as it is.");
  }
  function fix(path) {
    const field = shown.field(path);
    field?.querySelector(".help")?.append(" It was said when Sweetspot was started, and that counts until it is started anew.");
  }
  /** The choice is filled in when it is known what the machine has. */
  async function devices() {
    const field = shown.field("device"), select = field.querySelector("select"), help = field.querySelector(".help");
    const words = h("span", {}, " Looking at what this machine has…");
    help.append(words);
    try {
      const found = await get("/api/settings/devices");
      const value = select.value, gone = value !== "auto" && !found.some((one) => one.name === value);
      fill(select, h("option", { value: "auto" }, `auto (${found[0].name})`), found.map((one) => h("option", { value: one.name }, `${one.name}: ${one.words}`)), gone && h("option", { value }, `${value}: not on this machine`));
      select.value = value;
      fill(words, ` With precision at auto: ${found.map((one) => `${one.best} on ${one.name}`).join(", ")}.`);
    } catch (error) { fill(words, ` ${error.message}.`); }
  }
}

/** The theme acts at once, and is saved at once: a person judges it by looking. */
async function look(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.removeItem("theme");
  document.dispatchEvent(new Event("theme"));
  try { await post("/api/settings/theme", { theme }); } catch (error) { tell(error); }
}

function folders(opened) {
  const list = h("ul.lines");
  const card = h("section.card.stack", { "aria-labelledby": "opened" }, h("h2", { id: "opened" }, "Opened folders"),
    h("p.note", {}, "Pages show pictures from these folders, from the runs folder, and from nowhere else. A folder is opened when you choose it on a page. Closing one deletes nothing."), list);
  const redraw = (paths) => fill(list, paths.length ? paths.map((path) => h("li", {}, h("span.mono.grow", {}, path),
    action("Close", async () => redraw(await post("/api/settings/close", { folder: path })), { kind: "quiet", "aria-label": `Close the folder ${path}` }))) : h("li.soft", {}, "None yet."));
  redraw(opened);
  return card;
}

function hub(state, offline) {
  const words = h("p", { role: "status" });
  const input = h("input", { id: "token", type: "password", autocomplete: "off", spellcheck: false, placeholder: "hf_…" });
  const wrong = h("p.wrong", { id: "token-wrong", role: "alert", hidden: true });
  const field = h("div.field", {}, h("label", { htmlFor: "token" }, "Access token"), input, wrong);
  input.setAttribute("aria-describedby", "token-wrong token-help");
  const forget = action("Forget it", async () => {
    if (await confirm("Forget the token? Models that need a licence are then not fetched; what is on this computer stays.", "Forget it")) redraw(await post("/api/settings/token/forget"));
  }, { kind: "danger" });
  const keep = action("Keep this token", async () => {
    wrong.hidden = true; delete field.dataset.wrong;
    try { redraw(await post("/api/settings/token", { token: input.value })); input.value = ""; toast("The hub knows the token; it is kept."); }
    catch (error) { wrong.hidden = false; field.dataset.wrong = ""; wrong.textContent = `${error.message}${error.hint ? ` (${error.hint})` : ""}`.replace(/^./, (c) => c.toUpperCase()); input.focus(); }
  });
  function redraw(told) {
    fill(words, told.from ? [h("b", {}, "A token is set"), told.name ? `: “${told.name}”` : "", ". It comes from ", h("span.mono", {}, told.from), " and is shown to nobody."] : "No token is set. It is only needed for models whose licence you accept on Hugging Face, such as FLUX.1 dev and Stable Diffusion 3.5.");
    forget.hidden = !told.from || Boolean(told.fixed);
  }
  redraw(state);
  return h("section.card.stack", { "aria-labelledby": "hub" }, h("h2", { id: "hub" }, "Hugging Face"), words,
    h("form", { onsubmit: (event) => { event.preventDefault(); keep.click(); } }, field),
    h("p.note", { id: "token-help" }, "Make one that may only read, at huggingface.co/settings/tokens. It is kept where Hugging Face's own tools keep theirs.", offline && " Offline is on: a new token cannot be checked until it is off."),
    h("div.row", {}, keep, forget));
}

function facts(found) {
  return h("section.card.stack", { "aria-labelledby": "here" }, h("h2", { id: "here" }, "This installation"),
    h("dl.pairs", {}, Object.entries(found).map(([name, value]) => [h("dt", {}, name), h("dd.mono", {}, value)])),
    h("p.note", {}, "What works on this computer and what could be better: ", h("a", { href: "/home#computer" }, "the doctor's findings"), "."));
}
