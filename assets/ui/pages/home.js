// Home: what runs, recent runs with their verdicts, the demo, and what the doctor found.
import { action, ago, badge, bar, empty, fill, get, h, poll, post, progress, tell, thumb } from "../core.js";

export async function draw(page, actions) {
  const recent = h("section.stack", { "aria-label": "Recent runs" }), health = h("section.card", { "aria-label": "This computer" });
  const cards = new Map(), tiles = h("div.tiles.runs"), all = h("a", { href: "/runs" });
  const head = h("div.row.between", {}, h("h2", {}, "Recent runs"), all);
  fill(page, recent, health);
  actions.append(demo("quiet"), h("a.button.primary", { href: "/train" }, "Train a LoRA"));
  doctor(health);
  let first = null;
  const drawn = new Promise((done) => { first = done; });
  poll(async () => {
    const { runs, count } = await get("/api/home/recent");
    if (!runs.length) { if (!recent.querySelector(".empty")) fill(recent, nothing()); cards.clear(); }
    else {
      if (!tiles.isConnected) fill(recent, head, tiles);
      all.textContent = count > runs.length ? `All ${count} runs` : "All runs";
      for (const run of runs) { if (!cards.has(run.name)) cards.set(run.name, card(run)); cards.get(run.name).set(run); }
      const wanted = runs.map((run) => cards.get(run.name).element);
      for (const old of [...tiles.children]) if (!wanted.includes(old)) old.remove();
      wanted.forEach((each, n) => { if (tiles.children[n] !== each) tiles.insertBefore(each, tiles.children[n] ?? null); });
    }
    first();
    return runs.some((run) => run.status === "running") ? 2000 : 6000;
  });
  await Promise.race([drawn, new Promise((done) => setTimeout(done, 3000))]);
}

const demo = (kind = "") => action("Try the demo", async () => {
  const { work } = await post("/api/train/demo");
  location.href = `/runs?work=${encodeURIComponent(work)}`;
}, { kind, title: "Trains a small LoRA on the model that ships, in a few minutes" });

const nothing = () => empty("Nothing was trained yet", "Choose a folder with 5 to 50 pictures of one thing or one style, or try the demo: it trains a small LoRA on the model that ships with Sweetspot, on any computer, in a few minutes.",
  h("div.row", {}, demo(""), h("a.button.primary", { href: "/dataset" }, "Choose pictures")));

/** A run's card, whose parts change where they stand. */
function card(run) {
  const image = h("img.picture", { alt: "", loading: "lazy" }), best = h("span.best", { hidden: true }, "best"), state = h("span"), when = h("span.note"), track = h("div"), words = h("p.came");
  const element = h("a.card.run", { href: `/runs?work=${encodeURIComponent(run.name)}` }, h("div.look", {}, image, best), h("h3", {}, h("bdi", {}, run.name)), h("div.row.between", {}, state, when), track, words);
  let shown = "";
  return {
    element,
    set(now) {
      const time = ago(now.latest || now.made), is = JSON.stringify(now);
      if (when.textContent !== time) when.textContent = time;
      if (is === shown) return;
      shown = is;
      const src = now.analysis?.best ? `/api/runs/best?work=${encodeURIComponent(now.analysis.name)}` : now.sample ? thumb(`${now.path}/${now.sample}`) : "";
      if (image.getAttribute("src") !== src) src ? image.setAttribute("src", src) : image.removeAttribute("src");
      image.alt = now.analysis?.best ? `${now.name}: the picture of the chosen epoch and strength` : src ? `Latest sample of ${now.name}` : "";
      best.hidden = !now.analysis?.best;
      fill(state, badge(now.status));
      const { share, words: told } = progress(now), runs = now.status === "running";
      fill(track, runs && bar(share, told));
      words.textContent = runs ? told : now.analysis?.headline || now.problem || (now.status === "completed" ? "Not analysed yet" : now.steps ? `${now.step} of ${now.steps} steps` : "");
    },
  };
}

function doctor(place) {
  const words = h("p.soft", {}, "Looking…"), list = h("ul.findings"), when = h("span.note");
  const again = h("button.plain", { type: "button", onclick: () => look(post("/api/home/doctor")) }, "Look again");
  fill(place, h("div.row.between", {}, h("h2", {}, "This computer"), h("div.row", {}, when, again)), words, list);
  async function look(asking) {
    let told;
    try { told = await asking; } catch (error) { return tell(error); }
    again.disabled = told.looking;
    when.textContent = told.looking ? "Looking…" : told.at ? `looked ${ago(told.at)}` : "";
    if (told.found) show(told.found); else words.textContent = told.problem || "The doctor looks at this computer for the first time; that takes a few seconds.";
    if (told.looking) setTimeout(() => look(get("/api/home/doctor")), 1500);
  }
  function show(found) {
    const states = { good: ["✓", "Good"], note: ["!", "Could be better"], bad: ["✕", "To mend"] };
    const odd = found.filter((one) => one.state !== "good"), good = found.filter((one) => one.state === "good");
    words.textContent = odd.some((one) => one.state === "bad") ? "Something has to be mended before training works." : odd.length ? "It works; some things could be better." : "All is well.";
    const item = (one) => h(`li.${one.state}`, {}, h("span.mark", { role: "img", "aria-label": states[one.state]?.[1] ?? one.state }, states[one.state]?.[0] ?? "•"), h("div", {}, h("b", {}, one.what), " ", one.words, one.fix && h("p.note", {}, one.fix)));
    const open = list.querySelector("details")?.open;
    fill(list, odd.map(item), good.length > 0 && h("li.rest", {}, h("details", { open }, h("summary", {}, good.length === 1 ? "1 thing is well" : `${good.length} things are well`), h("ul.findings", {}, good.map(item)))));
  }
  look(get("/api/home/doctor"));
}
