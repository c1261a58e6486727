// The gallery: only the cards near the window are in the page, however many pictures there are.
import { fill, h, thumb } from "../../core.js";

const GAP = 14, NARROWEST = 244, SHOT = 232, AROUND = 124, LINE = 21, MARGIN = 700, SHOWN = 600;

/** "1024 × 768" */
export const sides = ([width, height]) => `${width} × ${height}`;

/** The picture with its cut drawn over it, within a box of these px. */
export function shot(card, width, height, side = 320, src = thumb(card.path, side)) {
  const shape = card.size[0] / card.size[1];
  const wide = Math.min(width, height * shape);
  const image = h("img", { src, alt: `${card.name}${card.frame ? `; training cuts ${sides(card.frame.size)} px` : ""}`, draggable: false, decoding: "async" });
  const framed = h("span.framed", { style: `width:${wide.toFixed(1)}px;height:${(wide / shape).toFixed(1)}px` }, image, cut(card.frame));
  image.addEventListener("error", () => framed.replaceChildren(h("span.broken", {}, "This picture cannot be shown")));
  return framed;
}
function cut(frame) {
  if (!frame) return null;
  const [w, h_] = frame.scaled, [x, y] = frame.crop, [cw, ch] = frame.size;
  const part = (value, of) => `${(100 * value / of).toFixed(3)}%`;
  const whole = cw === w && ch === h_;
  return h(`span.cut${whole ? ".whole" : ""}`, { style: `left:${part(x, w)};top:${part(y, h_)};width:${part(cw, w)};height:${part(ch, h_)}` });
}

/**
 * The cards of `page.shown`. `page` knows: shown (cards), drafts, locked, findings(card), final(card), look(card), vary.
 * Returns {element, draw, refresh(names), focus(index), edit(index), index()}.
 */
export function cards(page) {
  const list = h("ul.cards", { "aria-label": "Pictures" });
  const drawn = new Map(); // name -> {element, refresh, at}
  let columns = 1, wide = NARROWEST, high = 400, current = 0, waiting = 0, held = null;

  function measure() {
    const room = list.clientWidth || 300;
    columns = Math.max(1, Math.floor((room + GAP) / (NARROWEST + GAP)));
    wide = (room - GAP * (columns - 1)) / columns;
    const rows = Math.ceil(page.shown.length / columns);
    high = height(page);
    list.style.setProperty("--high", `${high}px`);
    list.style.height = `${Math.max(0, rows * (high + GAP) - GAP)}px`;
  }
  function draw() {
    waiting = 0;
    const top = list.getBoundingClientRect().top;
    const from = Math.max(0, Math.floor((-top - MARGIN) / (high + GAP))) * columns;
    const to = Math.min(page.shown.length, (Math.ceil((innerHeight - top + MARGIN) / (high + GAP)) + 1) * columns);
    const wanted = new Map();
    for (let index = from; index < to; index += 1) wanted.set(page.shown[index].name, index);
    if (page.shown[current]) wanted.set(page.shown[current].name, current);
    for (const [name, one] of drawn) if (!wanted.has(name)) { one.element.remove(); drawn.delete(name); }
    for (const [name, index] of [...wanted].sort((a, b) => a[1] - b[1])) place(name, index);
  }
  function place(name, index) {
    const card = page.shown[index];
    let one = drawn.get(name);
    if (one && (one.card !== card || one.wide !== wide)) {
      if (one.editing()) { one.card = card; one.wide = wide; }
      else { one.element.remove(); drawn.delete(name); one = undefined; }
    }
    if (!one) {
      one = made(card, wide, page, { done: (step) => leave(name, step), start: () => { current = page.shown.findIndex((c) => c.name === name); mark(); } });
      drawn.set(name, one);
      one.element.dataset.index = index;
      const after = [...list.children].find((li) => Number(li.dataset.index) > index);
      list.insertBefore(one.element, after ?? null);
      if (held === name) { held = null; one.element.focus({ preventScroll: true }); }
    }
    const { element } = one;
    element.dataset.index = index;
    element.setAttribute("aria-posinset", index + 1);
    element.setAttribute("aria-setsize", page.shown.length);
    element.tabIndex = index === current ? 0 : -1;
    const row = Math.floor(index / columns), column = index % columns;
    element.style.transform = `translate(${(column * (wide + GAP)).toFixed(1)}px, ${row * (high + GAP)}px)`;
    element.style.width = `${wide}px`;
  }
  const mark = () => { for (const { element } of drawn.values()) element.tabIndex = Number(element.dataset.index) === current ? 0 : -1; };
  const soon = () => { waiting ||= requestAnimationFrame(draw); };

  /** Other cards are shown: the one in focus stays in focus where it still is. */
  function renew() {
    const active = [...drawn].find(([, one]) => one.element.contains(document.activeElement));
    if (active && !active[1].editing()) held = active[0];
    const at = active ? page.shown.findIndex((card) => card.name === active[0]) : current;
    current = Math.max(0, Math.min(at < 0 ? current : at, page.shown.length - 1));
    measure();
    for (const one of drawn.values()) one.element.dataset.index = page.shown.findIndex((card) => card.name === one.card.name);
    draw();
    held = null;
  }
  function focus(index) {
    if (!page.shown.length) return null;
    current = Math.max(0, Math.min(index, page.shown.length - 1));
    show(current);
    draw();
    mark();
    const one = drawn.get(page.shown[current].name);
    one.element.focus({ preventScroll: true });
    return one;
  }
  function show(index) {
    const top = list.getBoundingClientRect().top + Math.floor(index / columns) * (high + GAP);
    const head = 76, foot = innerHeight - 12;
    if (top < head) scrollBy(0, top - head);
    else if (top + high > foot) scrollBy(0, Math.min(top - head, top + high - foot));
  }
  function leave(name, step) {
    const index = page.shown.findIndex((card) => card.name === name);
    const one = focus((index < 0 ? current : index) + step);
    if (step) one?.edit();
  }
  list.addEventListener("keydown", (event) => {
    if (event.target.parentElement !== list || event.altKey || event.ctrlKey || event.metaKey) return;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, PageDown: 3 * columns, PageUp: -3 * columns, Home: -current, End: page.shown.length };
    const index = Number(event.target.dataset.index);
    if (event.key in steps) { event.preventDefault(); focus(index + steps[event.key]); }
    else if (event.key === "Enter") { event.preventDefault(); drawn.get(page.shown[index].name).edit(); }
    else if (event.key === " ") { event.preventDefault(); page.look(index); }
  });
  list.addEventListener("focusin", (event) => {
    const card = event.target.closest("li");
    if (card) { current = Number(card.dataset.index); mark(); }
  });
  addEventListener("scroll", soon, { passive: true });
  new ResizeObserver(() => { const before = wide; measure(); if (before !== wide) draw(); else soon(); }).observe(list);
  return {
    element: list, draw: renew, focus,
    edit(index) { focus(index)?.edit(); },
    refresh(names) { for (const name of names ?? drawn.keys()) drawn.get(name)?.refresh(); },
    drawn: () => [...drawn.values()].map((one) => one.card),
    index: () => current,
  };
}

/** Of every card: room for most captions of the folder, and for a few lines to write in. */
function height({ cards: all, vary }) {
  const lengths = all.map((card) => card.caption.length).sort((a, b) => a - b);
  const lines = Math.max(3, Math.min(7, Math.ceil((lengths[Math.floor(0.85 * lengths.length)] ?? 0) / 30)));
  return SHOT + AROUND + lines * LINE + (vary ? 40 : 0);
}

function made(card, wide, page, { done, start }) {
  const caption = h("p.caption", { dir: "auto" });
  const final = h("p.final", { dir: "auto" });
  const findings = h("ul.told");
  const state = h("span.state");
  const back = h("button.plain", { type: "button", title: "Take this change back", "aria-label": `Take back the change of ${card.name}`, hidden: true, onclick: () => page.drafts.change([[one.card, page.drafts.texts.get(one.card.name)?.was ?? one.card.own]]) }, "↺");
  const words = h("div.words", { onclick: () => { if (!getSelection()?.toString()) one.edit(); } }, caption);
  const box = h("button.shot", { type: "button", tabIndex: -1, "aria-label": `Look at ${card.name} closely`, onclick: () => page.look(Number(element.dataset.index)) }, shot(card, wide - 2, SHOT));
  const element = h("li", { "data-name": card.name, "aria-label": card.name },
    box, h("div.line", {}, h("b", { title: card.name }, card.name), state, back), h("p.figures.note", {}, figures(card)), words, final, findings);
  let area = null;
  const one = {
    element, card, wide, refresh, edit, editing: () => area !== null,
  };
  function edit() {
    if (area || page.locked) { if (page.locked) page.tellLocked(); return; }
    start();
    const before = page.drafts.texts.get(one.card.name);
    area = h("textarea", { value: page.drafts.text(one.card), dir: "auto", spellcheck: true, "aria-label": `Caption of ${card.name}`, placeholder: placeholder(one.card) });
    area.addEventListener("input", () => page.drafts.type(one.card, area.value));
    area.addEventListener("blur", () => { area = null; page.drafts.typed(one.card, before); fill(words, caption); refresh(); page.settled(); }, { once: true });
    area.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      const step = event.key === "Enter" ? (event.ctrlKey || event.metaKey ? 1 : 0) : event.key === "Escape" ? 0 : event.altKey && event.key === "ArrowDown" ? 1 : event.altKey && event.key === "ArrowUp" ? -1 : null;
      if (step === null || (event.key === "Enter" && event.shiftKey)) return;
      event.preventDefault(); event.stopPropagation();
      done(step);
    });
    fill(words, area);
    area.focus({ preventScroll: true });
    area.setSelectionRange(area.value.length, area.value.length);
  }
  function refresh() {
    const text = page.drafts.text(one.card), changed = page.drafts.has(one.card.name);
    const bare = !text && (changed || !one.card.caption);
    caption.textContent = bare ? (changed ? "An empty caption" : "No caption yet: press Enter to write one") : clipped(text || one.card.caption);
    caption.className = bare || (!text && one.card.caption) ? "caption soft" : "caption";
    const said = page.final(one.card), own = text || (changed ? "" : one.card.caption);
    fill(final, said !== null && said !== own && [h("span", {}, said ? "Read as: " : "Read without a caption"), clipped(said)]);
    state.textContent = changed ? "Changed" : one.card.repeats > 1 ? `× ${one.card.repeats}` : "";
    state.className = changed ? "state changed" : "state";
    state.title = changed ? "Not saved yet" : one.card.repeats > 1 ? `Shown ${one.card.repeats} times an epoch` : "";
    back.hidden = !changed;
    const told = page.findings(one.card);
    fill(findings, told.slice(0, told.length > 2 ? 1 : 2).map((f) => h(`li.${f.level}`, { title: f.words }, f.words)), told.length > 2 && h("li.more", { title: told.slice(1).map((f) => f.words).join("\n") }, `and ${told.length - 1} more`));
  }
  refresh();
  return one;
}
const clipped = (text) => (text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text);
const placeholder = (card) => (card.caption && !card.own ? `Now: ${card.caption}` : "What is in the picture");

/** What training makes of a picture, in figures. */
export function figures(card) {
  const short = (size) => size.join("×");
  if (!card.frame) return `${short(card.size)} px, too small`;
  const kept = 100 * (card.frame.size[0] * card.frame.size[1]) / (card.frame.scaled[0] * card.frame.scaled[1]);
  if (card.frame.size.join() === card.size.join()) return `${short(card.size)} px, as it is`;
  return `${short(card.size)} → ${short(card.frame.size)}${kept < 99.5 ? `, ${Math.round(kept)} % kept` : ", whole"}`;
}
