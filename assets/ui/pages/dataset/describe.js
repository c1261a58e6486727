// Captions by a model from a folder of weights: asked for, watched, reviewed; never written without asking.
import { action, bar, dialog, duration, fill, get, h, poll, post, tell } from "../../core.js";
import { form } from "../../form.js";

const KEPT = "dataset:captioning";

/** The line that tells of a captioning at work or waiting to be reviewed. `page.folder` names the dataset. */
export function describing(page, specs) {
  const place = h("section.describing", { "aria-label": "Captioning", hidden: true });
  let work = null, results = [], shown = "";
  const stop = poll(async () => {
    if (!page.folder || (work && !["running", "waiting"].includes(work.status))) return 4000;
    const asked = work ? { name: work.name, seen: results.length } : { folder: page.folder };
    take(await get("/api/dataset/captioning", asked), !work);
    return work ? 800 : 30000;
  }, 4000);
  function take(told, anew) {
    if (told.status === "none") { work = null; place.hidden = true; shown = ""; return; }
    results = anew ? told.results : [...results, ...told.results];
    work = told;
    draw();
  }
  function draw() {
    const done = results.filter((each) => each.caption !== undefined).length, failed = results.length - done;
    const state = JSON.stringify([work.status, work.done, work.total, work.phase, done, work.problem]);
    if (state === shown) return;
    shown = state;
    place.hidden = false;
    const going = ["running", "waiting"].includes(work.status);
    const words = going ? (work.phase === "captions" ? `Describing pictures: ${work.done} of ${work.total}${work.left ? `, ${duration(work.left)} left` : ""}` : "Reading the weights…")
      : work.status === "completed" ? `${done} captions are ready to be looked through${failed ? `; ${failed} pictures could not be read` : ""}.`
      : work.problem ? `Captioning ended: ${work.problem}${work.hint ? `. Try: ${work.hint}.` : ""}` : `Captioning was stopped; ${done} captions are ready.`;
    fill(place, h("div.grow.stack", {}, h("p", { role: going ? undefined : "status" }, words), going && bar(work.phase === "captions" && work.total ? work.done / work.total : null, "Captioning")),
      going && action("Stop", async () => { take(await post("/api/dataset/captioning/stop", { name: work.name }), true); }),
      done > 0 && h("button.primary", { type: "button", onclick: () => review() }, `Look through ${done}`),
      !going && action("Dismiss", () => dismiss(), { kind: "quiet" }));
  }
  async function dismiss() { await post("/api/dataset/captioning/take", { name: work.name }); work = null; results = []; shown = ""; place.hidden = true; stop.now(); }
  async function review() {
    const cards = new Map(page.cards.map((card) => [card.name, card]));
    const pairs = results.filter((each) => each.caption !== undefined && cards.has(each.name)).map((each) => [cards.get(each.name), each.caption]);
    page.drafts.change(pairs);
    page.filterBy("changed");
    if (["running", "waiting"].includes(work.status)) return;
    await dismiss().catch(tell);
  }
  function ask() {
    const inner = h("div"), wrong = h("p.problem", { role: "alert", hidden: true });
    const bare = h("input", { type: "checkbox", checked: true, onchange: () => count() });
    const go = action("Describe", async () => {
      const names = chosen();
      const told = fields.values();
      try { localStorage.setItem(KEPT, JSON.stringify(told)); } catch (error) { console.debug(error); }
      let started;
      try { started = await post("/api/dataset/captioning/start", { folder: page.folder, names, values: told }); }
      catch (error) {
        const { left } = fields.wrong([{ where: error.where, problem: error.message, hint: error.hint }]);
        wrong.hidden = !left.length;
        wrong.textContent = `${error.message}${error.hint ? `. Try: ${error.hint}.` : ""}`;
        return;
      }
      box.close();
      work = null;
      take(started, true);
      stop.now();
    }, { kind: "primary" });
    const box = dialog("Describe pictures with a model", h("p.soft", {}, "A model on this computer writes captions. They come as changes to look through; no file is written before you save."), inner, h("label.check", {}, bare, "Only pictures without a caption of their own"), wrong, h("div.row", {}, go));
    const fields = form(inner, specs, { titles: { "": "The model" } });
    try { fields.set(JSON.parse(localStorage.getItem(KEPT)) ?? {}); } catch (error) { console.debug(error); }
    const chosen = () => page.shown.filter((card) => !bare.checked || !page.drafts.text(card)).map((card) => card.name);
    const count = () => { const many = chosen().length; go.textContent = many ? `Describe ${many} of the ${page.shown.length} shown` : "None of those shown is without a caption"; go.disabled = !many; };
    count();
    fields.focus("weights");
  }
  return { element: place, ask };
}
