// Dataset: pictures with the cut and the words that training will see; captions are changed here and saved when asked.
import { action, asked, bar, confirm, dialog, duration, empty, fill, get, h, poll, post, remember, tell, toast } from "../core.js";
import { cards as gallery } from "./dataset/cards.js";
import { chooser, dropping } from "./dataset/choose.js";
import { closer, duplicates } from "./dataset/closer.js";
import { describing } from "./dataset/describe.js";
import { Drafts } from "./dataset/drafts.js";
import { askToWrite, editMany } from "./dataset/edit.js";
import { panel } from "./dataset/panel.js";

const FILTERS = [["", "All"], ["bare", "No caption"], ["findings", "Findings"], ["twins", "Duplicates"], ["changed", "Changed"]];
const SETTING = "set.", AUTOMATIC = 500;

export async function draw(place, actions) {
  const specs = await get("/api/dataset/settings");
  const open = (folder) => { location.href = `/dataset?folder=${encodeURIComponent(folder.trim())}`; };
  dropping(open);
  const folder = asked("folder");
  if (!folder) return chooser(place, open);
  return opened(place, actions, folder, specs, open);
}

function opened(place, actions, folder, specs, open) {
  const page = { folder, cards: [], shown: [], view: null, check: null, locked: "", vary: false, odd: [], filter: asked("show") ?? "", bucket: asked("size") ?? "", told: null };
  const byPath = new Map(specs.lens.map((spec) => [spec.path, spec]));
  let settings = {}, words = asked("find") ?? "", seen = "", finals = new Map(), lookups = 0;
  for (const [name, value] of new URLSearchParams(location.search)) if (name.startsWith(SETTING) && byPath.has(name.slice(4))) settings[name.slice(4)] = typed(byPath.get(name.slice(4)), value);
  const ask = (more = {}) => ({ folder, settings, ...more });

  // What is drawn once
  const notice = h("div.stack", { role: "status" }), main = h("div.stack.gallery"), body = h("div.dataset", { hidden: true });
  const find = h("input", { type: "search", value: words, placeholder: "Search captions and names", "aria-label": "Search captions and names", oninput: () => page.search(find.value, false) });
  const tabs = h("div.tabs", { role: "group", "aria-label": "Which pictures" }, FILTERS.map(([key, label]) => h("button", { type: "button", "data-key": key, onclick: () => page.filterBy(page.filter === key ? "" : key) }, label)));
  const count = h("span.soft.figures", { role: "status" }), none = h("div");
  const undo = h("button", { type: "button", title: "Undo (Ctrl+Z)", disabled: true, onclick: () => history(false) }, "Undo"), saving = action("Save", () => save(), { title: "Ctrl+S" });
  const many = h("button", { type: "button", onclick: () => (page.locked ? page.tellLocked() : editMany(page.shown, page.drafts, (n) => toast(`${n} captions changed. Save when they are right, or undo.`))) }, "Change many…");
  const describe = describing(page, specs.captioning);
  const model = h("button", { type: "button", onclick: () => (page.locked ? page.tellLocked() : describe.ask()) }, "Describe…");
  page.drafts = new Drafts(folder, (names) => { forgetSaid(names); list.refresh(names); tools(); });
  const list = gallery(page), side = panel(page, specs.lens, settings, (own) => { settings = own; rememberSettings(); look(); });
  const bar_ = h("div.tools", {}, h("div.row.between", {}, tabs, h("div.row", {}, undo, saving)), h("div.row", {}, h("div.grow", {}, find), many, model, count));
  fill(main, bar_, describe.element, none, list.element, h("p.keys.note", {}, "Arrows move, Enter writes, Space looks closer, Ctrl+Z undoes, Ctrl+S saves; while writing, Enter or Escape ends, Ctrl+Enter goes on to the next."));
  fill(body, main, side.element);
  fill(place, h("div.row.between.where", {}, h("p.mono", { title: folder, dir: "auto" }, folder), h("a.button.quiet", { href: "/dataset" }, "Choose others")), notice, body);
  const use = h("button.primary", { type: "button", disabled: true, onclick: () => toTrain() }, "Use these pictures");
  actions.append(use);

  // What the parts ask of the page
  Object.assign(page, {
    findings(card) {
      const found = [...(page.checked?.get(card.name) ?? [])];
      const changed = page.drafts.texts.get(card.name);
      if (changed && changed.was !== card.own) found.push({ kind: "conflict", level: "bad", words: "Its file was changed by another program meanwhile" });
      return [...found, ...card.findings.filter((f) => !changed || f.about !== "caption")].sort((a, b) => (a.level === "bad" ? 0 : 1) - (b.level === "bad" ? 0 : 1));
    },
    final(card) {
      const draft = page.drafts.texts.get(card.name);
      if (!draft) return card.final;
      if (!page.vary) return draft.text.split(/\r?\n/).map((line) => line.trim()).filter(Boolean).join(" ");
      if (finals.has(card.name)) return finals.get(card.name);
      saySoon();
      return null;
    },
    groups: () => (page.check?.found ?? []).filter((each) => each.group),
    showGroups: () => duplicates(page, page.groups()),
    look: (index) => closer(page, index),
    search(text, put = true) { words = text; if (put) { find.value = text; page.filter = ""; } remember({ find: words }); sift(); },
    filterBy(key) { page.filter = key; remember({ show: key }); sift(); },
    byBucket(size) { page.bucket = size; remember({ size }); side.drawSizes(); sift(); [...side.element.querySelectorAll(".bucket")].find((b) => b.getAttribute("aria-pressed") === "true")?.focus(); },
    focusOn(name, anyway = false) {
      let index = page.shown.findIndex((card) => card.name === name);
      if (index < 0 && anyway) { page.filter = page.bucket = ""; page.search(""); index = page.shown.findIndex((card) => card.name === name); }
      if (index >= 0) list.focus(index);
    },
    settled: () => { tools(); if (!page.drafts.kept) toast("These changes are too large to be kept over a reload: save them soon.", "bad"); },
    tellLocked: () => toast(page.locked, "bad"),
    startCheck: () => checkUp(true), stopCheck: () => post("/api/dataset/check/stop", ask()).catch(tell),
  });

  // Looking at the folder
  async function look(anew = true) {
    const turn = (lookups += 1);
    try {
      for (;;) {
        const told = await post("/api/dataset/view", ask());
        if (turn !== lookups) return;
        if (told.view) { show(told); break; }
        if (anew && !page.view) fill(notice, h("p.soft.figures", {}, told.looking.total ? `Looking at the pictures: ${told.looking.done} of ${told.looking.total}${told.looking.left ? `, ${duration(told.looking.left)} left` : ""}` : "Looking at the pictures…"), bar(told.looking.total ? told.looking.done / told.looking.total : null, "Looking at the pictures"));
      }
    } catch (error) {
      if (turn !== lookups) return;
      if (page.view && side.wrong(error)) return;
      trouble(error);
    }
  }
  function show({ view, signature, vary, shipped, preset }) {
    side.right();
    Object.assign(page, { view, cards: view.cards, locked: view.locked, vary, preset });
    finals = new Map();
    seen = signature;
    page.drafts.settle(page.cards);
    body.hidden = false; use.disabled = false;
    fill(notice, view.locked && h("div.advice.row.between", {}, h("p", {}, view.locked), shipped && action("Make a copy", () => copy(open, folder))));
    many.disabled = model.disabled = Boolean(view.locked);
    side.drawCheck(); side.drawSizes();
    sift();
    if (!page.check) checkUp(false); else checkedUp(page.check);
    post("/api/dataset/words", ask()).then((odd) => { if (view === page.view && JSON.stringify(odd) !== JSON.stringify(page.odd)) { page.odd = odd; side.drawCheck(); } }, (error) => console.debug(error));
  }
  function trouble(error) {
    if (page.view) { fill(notice, h("div.problem.row.between", {}, h("p", {}, `${error.message}. `, error.hint && `Try: ${error.hint}.`), h("button", { type: "button", onclick: () => look() }, "Look again"))); return; }
    fill(notice, h("div.problem", { role: "alert" }, h("b", {}, error.message.replace(/^./, (c) => c.toUpperCase())), h("p.mono", {}, error.where), error.hint && h("p", {}, `Try: ${error.hint}.`)));
    const again = h("div"); notice.append(again);
    chooser(again, open, folder).catch(tell);
  }

  // Which cards, and what stands over them
  function sift() {
    const low = words.trim().toLowerCase();
    const twins = new Set(page.groups().flatMap((each) => each.names));
    const fits = {
      "": () => true, bare: (card) => !page.drafts.text(card), findings: (card) => page.findings(card).length > 0,
      twins: (card) => twins.has(card.name), changed: (card) => page.drafts.has(card.name),
    };
    const fit = fits[page.filter] ?? fits[""];
    page.shown = page.cards.filter((card) => fit(card) && (!page.bucket || (card.frame ? card.frame.size.join("×") : "too small") === page.bucket)
      && (!low || (page.drafts.text(card) || card.caption).toLowerCase().includes(low) || card.name.toLowerCase().includes(low)));
    for (const button of tabs.children) {
      const { key } = button.dataset, many_ = page.cards.filter(fits[key]).length;
      button.setAttribute("aria-pressed", page.filter === key);
      fill(button, FILTERS.find(([each]) => each === key)[1], h("span.soft.figures", {}, String(many_)));
    }
    const all = page.shown.length === page.cards.length;
    count.textContent = all ? "" : `${page.shown.length} of ${page.cards.length} shown`;
    fill(none, !page.shown.length && empty("No picture fits", "None of the pictures is left by what was chosen and searched for.", h("button", { type: "button", onclick: () => { page.filter = ""; page.bucket = ""; remember({ show: "", size: "" }); side.drawSizes(); page.search(""); } }, "Show all")));
    list.draw(); list.refresh();
    tools();
  }
  function tools() {
    const { size } = page.drafts;
    saving.disabled = !size || Boolean(page.locked);
    saving.textContent = size ? `Save ${size} ${size === 1 ? "change" : "changes"}` : "Saved";
    saving.className = size ? "primary" : "";
    undo.disabled = !page.drafts.past.length;
    const changed = tabs.querySelector("[data-key=changed] span");
    if (changed) changed.textContent = String(size);
  }
  function history(again) { const step = again ? page.drafts.redo() : page.drafts.undo(); if (step?.length === 1) page.focusOn(step[0].card.name); }

  // What chance makes of changed words is the server's to say
  let sayTimer = 0;
  function forgetSaid(names) { for (const name of names) finals.delete(name); }
  function saySoon() { clearTimeout(sayTimer); sayTimer = setTimeout(() => sayNow().catch((error) => console.debug(error)), 350); }
  async function sayNow() {
    const wanted = list.drawn().filter((card) => page.drafts.has(card.name) && !finals.has(card.name));
    if (!wanted.length) return;
    const texts = wanted.map((card) => page.drafts.text(card));
    const said = await post("/api/dataset/say", ask({ items: wanted.map((card, i) => ({ number: card.number, caption: texts[i] })) }));
    wanted.forEach((card, i) => { if (page.drafts.text(card) === texts[i]) finals.set(card.name, said[i]); });
    list.refresh(wanted.map((card) => card.name));
    page.told?.();
  }

  // Saving
  async function save() {
    const inside = list.element.contains(document.activeElement);
    document.activeElement?.blur?.();
    const changes = page.drafts.changes();
    if (!changes.length || page.locked) { if (page.locked) page.tellLocked(); return; }
    const yes = await askToWrite(changes, folder);
    if (inside) list.focus(list.index());
    if (!yes) return;
    await write(changes);
  }
  async function write(changes) {
    let told;
    try { told = await post("/api/dataset/save", ask({ changes })); } catch (error) { await look(false); throw error; }
    page.drafts.saved(told.written);
    await look(false);
    if (told.written.length) toast(told.written.length === 1 ? "1 caption is written." : `${told.written.length} captions are written.`);
    const refused = Object.entries(told.refused);
    if (refused.length) notWritten(refused);
  }
  function notWritten(refused) {
    const mine = new Map(page.cards.map((card) => [card.name, card]));
    const both = refused.map(([name]) => mine.get(name)).filter((card) => card && page.drafts.texts.get(card.name)?.was !== card.own);
    const box = dialog(refused.length === 1 ? "A caption was not written" : `${refused.length} captions were not written`, h("ul.files", {}, refused.map(([name, why]) => h("li", {}, h("b", {}, name), `: ${why}`))), h("p.soft", {}, "The changes are still here."),
      both.length > 0 && h("div.row", {}, action("Write mine over them", async () => { page.drafts.rebase(both); box.close(); await write(page.drafts.changes().filter((one) => both.some((card) => card.name === one.name))); }),
        action("Take what is on disk", () => { box.close(); page.drafts.forget(both.map((card) => card.name)); })));
  }

  // The check of every picture, in a process of its own
  async function checkUp(start) {
    const told = await post("/api/dataset/check", ask({ start })).catch((error) => ({ status: "failed", problem: error.message, found: [] }));
    if (start) told.asked = !["completed", "failed", "stopped", "died"].includes(told.status);
    const fresh = !page.check && told.status === "waiting" && page.cards.length <= AUTOMATIC;
    checkedUp(told);
    if (fresh) await checkUp(true);
  }
  function checkedUp(told) {
    page.check = told;
    page.checked = new Map();
    const note = (name, finding) => page.checked.set(name, [...(page.checked.get(name) ?? []), finding]);
    for (const each of told.found ?? []) {
      if (each.damaged) note(each.damaged, { kind: "damaged", level: "bad", about: "picture", words: `Damaged: ${each.what}` });
      else for (const name of each.names) { const others = each.names.filter((n) => n !== name); note(name, { kind: each.group, level: "note", about: "picture", words: `${each.group === "same" ? "The same file as" : "Looks like"} ${others[0]}${others.length > 1 ? ` and ${others.length - 1} more` : ""}` }); }
    }
    if (!page.view) return;
    side.drawCheck();
    if (told.status === "completed") sift();
  }
  poll(async () => {
    const going = page.check && (page.check.status === "running" || page.check.asked);
    if (going) { const told = await post("/api/dataset/check", ask()); told.asked = told.status === "waiting"; if (JSON.stringify(told) !== JSON.stringify(page.check)) checkedUp(told); return 700; }
    return 2000;
  }, 2000);
  poll(async () => {
    if (!page.view) return;
    try { const { signature } = await get("/api/dataset/state", { folder }); if (signature !== seen) { seen = signature; page.check = null; await look(false); } }
    catch (error) { seen = ""; trouble(error); }
  }, 12000);

  async function toTrain() {
    if (page.drafts.size && !await confirm(`${page.drafts.size} changes of captions are not saved yet, and training would not see them.`, "Go on without them", "Stay")) return;
    location.href = `/train?${new URLSearchParams({ folder, ...(page.preset ? { preset: page.preset } : {}) })}`;
  }
  function rememberSettings() {
    const told = Object.fromEntries([...byPath.keys()].map((path) => [SETTING + path, ""]));
    for (const [path, value] of Object.entries(settings)) told[SETTING + path] = String(value);
    remember(told);
  }
  addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
    const key = event.key.toLowerCase(), writing = /^(TEXTAREA|INPUT)$/.test(document.activeElement?.tagName ?? "");
    if (key === "s") { event.preventDefault(); if (!document.querySelector("dialog[open]")) save().catch(tell); }
    else if ((key === "z" || key === "y") && !writing && !document.querySelector("dialog[open]")) { event.preventDefault(); history(key === "y" || event.shiftKey); }
  });
  return look();
}

async function copy(open, folder) {
  const own = folder.split(/[\\/]/).filter(Boolean).at(-1);
  for (let number = 1; number < 100; number += 1) {
    try { open((await post("/api/dataset/copy", { folder, name: number === 1 ? own : `${own}-${number}` })).folder); return; }
    catch (error) { if (!/already/.test(error.message)) throw error; }
  }
}
function typed(spec, text) {
  if (spec.kind === "flag") return text === "true";
  return (spec.kind === "whole" || spec.kind === "real") && text.trim() !== "" && isFinite(Number(text)) ? Number(text) : text;
}
