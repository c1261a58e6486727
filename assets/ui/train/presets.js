// Which preset: by what is taught, the base model's family and the card; or one of one's own.
import { fill, h } from "../core.js";

const PURPOSES = [["subject", "A subject", "One thing, animal or person"], ["character", "A character", "Drawn, in many poses"], ["style", "A style", "How pictures look"], ["object", "An object", "A product, a prop"]];
const FAMILIES = { sd: "Stable Diffusion 1.5 or 2", sdxl: "SDXL", flux: "FLUX.1", sd3: "SD 3" };
const SPARE = 1.12; // of a card's memory to what is free of it when nothing runs
const CARDS = [[0, "No card (demo model)"], [8, "8 GB"], [12, "12 GB"], [16, "16 GB"], [24, "24 GB"]];

/** The chooser; `choose(call)` is told the preset's name, empty for none. */
export function chooser(presets, { preset }, choose) {
  const builtin = presets.filter((one) => one.purpose && !one.own);
  const now = presets.find((one) => one.call === preset);
  let asked = { purpose: now?.purpose || "", family: now?.family || "sd", card: now ? now.card : 12 };
  const told = h("p.note", { "aria-live": "polite" });
  const families = [...new Set(builtin.map((one) => one.family))];
  const family = h("select", { id: "family", onchange: () => set({ family: family.value }) }, families.map((name) => h("option", { value: name }, FAMILIES[name] ?? name)));
  const card = h("select", { id: "card", onchange: () => set({ card: Number(card.value) }) }, CARDS.map(([size, words]) => h("option", { value: size }, words)));
  const mine = h("select", { id: "own-preset", onchange: () => mine.value && pick(mine.value) });
  const buttons = PURPOSES.map(([key, title, words]) => h("button.purpose", { type: "button", "aria-pressed": "false", "data-purpose": key, onclick: () => set({ purpose: key }) }, h("b", {}, title), h("span.soft", {}, words)));
  const element = h("section.card.stack.chooser", { "aria-label": "Preset" }, h("h2", {}, "What do you want to teach?"), h("div.purposes", { role: "group", "aria-label": "Purpose" }, buttons),
    h("div.fields", {}, h("div.field", {}, h("label", { htmlFor: "family" }, "Base model"), family), h("div.field", {}, h("label", { htmlFor: "card" }, "Graphics card"), card), h("div.field", {}, h("label", { htmlFor: "own-preset" }, "Or one of your own"), mine)), told);
  refresh(presets);
  show(preset);
  return { element, show, machine, refresh };

  /** The presets as they are now; what is chosen stays so. */
  function refresh(all) {
    presets = all;
    const others = all.filter((one) => one.own || !one.purpose), chosen = mine.value;
    fill(mine, h("option", { value: "" }, others.length ? "–" : "none yet"), others.map((one) => h("option", { value: one.call }, one.call)));
    mine.value = chosen;
  }

  /** What this machine has, for who has chosen nothing: the largest size that its free memory (GiB) fills. */
  function machine(device, free) {
    if (told.dataset.chosen) return;
    const sizes = CARDS.map(([size]) => size).filter(Boolean);
    asked.card = device === "cpu" ? 0 : sizes.filter((size) => size <= free * SPARE).at(-1) ?? sizes[0];
    card.value = String(asked.card);
  }

  function set(change) {
    asked = { ...asked, ...change };
    if (!asked.purpose) asked.purpose = "subject";
    const fits = builtin.filter((one) => one.purpose === asked.purpose && one.family === asked.family);
    const found = fits.find((one) => one.card === asked.card) ?? fits.find((one) => one.card >= asked.card) ?? fits.at(-1);
    if (found) pick(found.call);
    else { show(""); fill(told, "No preset ships for that; the defaults count."); choose(""); }
  }
  function pick(call) { show(call); choose(call); }
  function show(call) {
    const one = presets.find((each) => each.call === call);
    told.dataset.chosen = one ? "yes" : "";
    if (one?.purpose && !one.own) asked = { purpose: one.purpose, family: one.family, card: one.card };
    for (const button of buttons) button.setAttribute("aria-pressed", String(one ? !one.own && button.dataset.purpose === one.purpose : false));
    family.value = asked.family; card.value = String(asked.card);
    mine.value = one && (one.own || !one.purpose) ? call : "";
    fill(told, one ? [h("b", {}, one.name), " ", one.sentence] : "Nothing chosen: every setting has its default. A preset sets what others found good for your card and purpose.");
  }
}
