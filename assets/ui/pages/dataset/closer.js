// Dialogs that look closer: one picture with its cut and words, and groups of pictures that are alike.
import { compare } from "../../compare.js";
import { dialog, empty, fill, h, picture, thumb } from "../../core.js";
import { figures, shot, sides } from "./cards.js";

/** One picture large, with the others an arrow away. */
export function closer(page, index) {
  const seen = h("div.large"), told = h("div.stack.side");
  let at = index, area = null, before;
  const box = dialog("Picture", h("div.closer", {}, seen, told));
  const heading = box.querySelector("h2");
  const step = (by) => { const to = at + by; if (to >= 0 && to < page.shown.length) { leave(); at = to; draw(); } };
  function leave() { if (area) { page.drafts.typed(page.shown[at], before); area = null; } }
  function draw() {
    const card = page.shown[at], { frame } = card;
    heading.textContent = card.name;
    const room = Math.min(innerWidth - 90, 660), high = Math.max(220, Math.min(innerHeight - 260, 620));
    fill(seen, shot(card, innerWidth > 900 ? Math.min(room, 640) : room, high, 640, picture(card.path)));
    before = page.drafts.texts.get(card.name);
    area = h("textarea", { value: page.drafts.text(card), dir: "auto", rows: 7, readOnly: Boolean(page.locked), spellcheck: true, id: "closer-caption", placeholder: card.caption && !card.own ? `Now: ${card.caption}` : "What is in the picture" });
    area.addEventListener("input", () => { page.drafts.type(card, area.value); words(); });
    const final = h("p.final", { dir: "auto" }), count = h("span.note.figures");
    const words = () => { const said = page.final(card); final.textContent = said === null ? "" : said || "(no words at all)"; count.textContent = `${area.value.length.toLocaleString()} signs`; };
    words();
    page.told = words;
    fill(told,
      h("div.row.between", {}, h("button", { type: "button", disabled: at === 0, onclick: () => step(-1) }, "← Before"), h("span.soft.figures", {}, `${at + 1} of ${page.shown.length}`), h("button", { type: "button", disabled: at + 1 === page.shown.length, onclick: () => step(1) }, "Next →")),
      h("div.field", {}, h("div.top", {}, h("label", { htmlFor: "closer-caption" }, "Caption"), count), area, h("p.help", {}, SOURCES[card.source])),
      h("div.field", {}, h("span.label", {}, "What training reads with it"), final),
      h("dl.pairs", {}, fact("Picture", `${sides(card.size)} px`), fact("Resized to", frame ? `${sides(frame.scaled)} px` : "too small"), fact("Cut out", frame ? `${sides(frame.size)} px at ${frame.crop.join(", ")}` : "–"), fact("Shown", card.repeats === 1 ? "once an epoch" : `${card.repeats} times an epoch`)),
      h("ul.told", {}, page.findings(card).map((f) => h(`li.${f.level}`, {}, f.words))));
  }
  box.addEventListener("keydown", (event) => {
    if (event.target.tagName === "TEXTAREA" && !event.altKey) return;
    if (event.key === "ArrowRight" || event.key === "ArrowLeft") { event.preventDefault(); step(event.key === "ArrowRight" ? 1 : -1); }
  });
  box.addEventListener("close", () => { leave(); page.told = null; page.settled(); page.focusOn(page.shown[at]?.name); });
  draw();
  return box;
}
const fact = (label, words) => h("div", {}, h("dt", {}, label), h("dd", {}, words));
const SOURCES = {
  txt: "From the text file beside the picture.", metadata: "From the folder's metadata file.", folder: "From the folder's name; what you write goes into a text file and counts instead.",
  template: "Made from trigger and class word; what you write goes into a text file and counts instead.", none: "There is none yet; what you write goes into a text file beside the picture.",
};

/** Groups of the same file, and of pictures that look alike, side by side. */
export function duplicates(page, groups) {
  const cards = new Map(page.cards.map((card) => [card.name, card]));
  const boxes = groups.map(({ group, names }) => {
    const found = names.map((name) => cards.get(name)).filter(Boolean);
    const texts = new Set(found.map((card) => page.drafts.text(card) || card.caption));
    const [first, second] = found;
    return found.length > 1 && h("section.group", {}, h("div.row.between", {}, h("h3", {}, group === "same" ? "The same file" : "Look alike"),
      texts.size > 1 && group === "same" && h("span.bad", {}, "Their captions differ"),
      h("button", { type: "button", onclick: () => compare(`${first.name} and ${second.name}`, { src: picture(first.path), label: first.name }, { src: picture(second.path), label: second.name }) }, "Lay over each other")),
    h("div.beside", {}, found.slice(0, 24).map((card) => h("figure", {}, h("img", { src: thumb(card.path), alt: card.name, loading: "lazy" }), h("figcaption", {}, h("button.plain", { type: "button", onclick: () => { box.close(); page.focusOn(card.name, true); } }, card.name), h("span.note", {}, figures(card)), h("p", { dir: "auto" }, (page.drafts.text(card) || card.caption).slice(0, 300))))), found.length > 24 && h("p.soft", {}, `and ${found.length - 24} more`)));
  }).filter(Boolean);
  const box = dialog("Duplicates, side by side", boxes.length ? h("p.soft", {}, "A picture that is there twice is learned twice as hard. Take one out of the folder, or leave it if you want that.") : empty("No duplicates", "No two pictures are the same file or look alike."), boxes);
  return box;
}
