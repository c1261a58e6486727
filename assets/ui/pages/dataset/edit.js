// One change to many captions: seen before it is made, undone in one step, saved when asked.
import { dialog, fill, h } from "../../core.js";

const KINDS = [["replace", "Find and replace"], ["front", "Put in front"], ["end", "Put at the end"], ["remove", "Remove a tag"], ["tags", "Tidy tags"]];
const PREVIEWED = 30;
const literal = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
const tags = (text) => text.split(",").map((tag) => tag.trim()).filter(Boolean);

/** What a kind of change makes of a caption; pure. */
export function changed(text, { kind, find = "", put = "", matchCase = false, whole = false, bare = false }) {
  if (!text && !(bare && (kind === "front" || kind === "end"))) return text;
  if (kind === "replace") {
    if (!find) return text;
    const edge = whole ? ["(?<![\\p{L}\\p{N}_])", "(?![\\p{L}\\p{N}_])"] : ["", ""];
    return text.replace(new RegExp(edge[0] + literal(find) + edge[1], matchCase ? "gu" : "giu"), () => put);
  }
  if (kind === "front") return !put.trim() ? text : text ? put + text : put.replace(/[\s,]+$/, "");
  if (kind === "end") return !put.trim() ? text : text ? text + put : put.replace(/^[\s,]+/, "");
  if (kind === "remove") {
    const gone = new Set(tags(find.toLowerCase()));
    const kept = tags(text).filter((tag) => !gone.has(tag.toLowerCase()));
    return gone.size && kept.length < tags(text).length ? kept.join(", ") : text;
  }
  const seen = new Set();
  return tags(text).filter((tag) => !seen.has(tag.toLowerCase()) && seen.add(tag.toLowerCase())).join(", ");
}

/** Ask how to change the captions of `shown` cards, with a preview. */
export function editMany(shown, drafts, done) {
  let kind = "replace";
  const tabs = h("div.tabs", { role: "group", "aria-label": "Kind of change" }, KINDS.map(([key, words]) => h("button", { type: "button", "data-kind": key, onclick: () => choose(key) }, words)));
  const field = (id, words, help) => { const input = h("input", { type: "text", id, autocomplete: "off", spellcheck: false, oninput: () => look() }); return { input, element: h("div.field", {}, h("label", { htmlFor: id }, words), input, help && h("p.help", {}, help)) }; };
  const check = (words) => { const input = h("input", { type: "checkbox", onchange: () => look() }); return { input, element: h("label.check", {}, input, words) }; };
  const find = field("many-find", "Find"), put = field("many-put", "Put in its place"), matchCase = check("Match capitals"), whole = check("Whole words only"), bare = check("Also where there is no caption yet");
  const note = h("p.soft"), count = h("b", { role: "status" }), list = h("ul.preview", { tabIndex: 0, "aria-label": "Preview" });
  const apply = h("button.primary", { type: "button", onclick: () => { const pairs = made(); box.close(); drafts.change(pairs); done(pairs.length); } }, "Change");
  const box = dialog(`Change ${shown.length === 1 ? "the caption shown" : `the ${shown.length} captions shown`}`, tabs, note,
    h("form.stack", { onsubmit: (event) => { event.preventDefault(); if (!apply.disabled) apply.click(); } }, h("div.fields", {}, find.element, put.element), h("div.row", {}, matchCase.element, whole.element, bare.element), h("button", { hidden: true }, "")),
    h("div.row.between", {}, count, apply), list);
  const options = () => ({ kind, find: find.input.value, put: put.input.value, matchCase: matchCase.input.checked, whole: whole.input.checked, bare: bare.input.checked });
  const made = () => { const how = options(); return shown.map((card) => [card, changed(drafts.text(card), how)]).filter(([card, text]) => text !== drafts.text(card)); };
  function look() {
    const pairs = made();
    count.textContent = pairs.length ? `${pairs.length} of ${shown.length} captions change` : "Nothing changes yet";
    apply.disabled = !pairs.length;
    apply.textContent = pairs.length ? `Change ${pairs.length}` : "Change";
    fill(list, pairs.slice(0, PREVIEWED).map(([card, text]) => h("li", {}, h("span.note", {}, card.name), difference(drafts.text(card), text))), pairs.length > PREVIEWED && h("li.soft", {}, `and ${pairs.length - PREVIEWED} more`));
  }
  function choose(key) {
    kind = key;
    for (const button of tabs.children) button.setAttribute("aria-pressed", button.dataset.kind === key);
    find.element.hidden = !["replace", "remove"].includes(key);
    put.element.hidden = !["replace", "front", "end"].includes(key);
    find.element.firstChild.textContent = key === "remove" ? "Tags to remove" : "Find";
    put.element.firstChild.textContent = key === "replace" ? "Put in its place" : "Words";
    put.input.placeholder = key === "front" ? "sks, " : key === "end" ? ", in the rain" : "";
    matchCase.element.hidden = whole.element.hidden = key !== "replace";
    bare.element.hidden = !["front", "end"].includes(key);
    note.textContent = { replace: "", front: "Spaces and commas count: write “sks, ” to have a comma between.", end: "Spaces and commas count.", remove: "Whole tags between commas, several at once with commas; capitals do not matter.", tags: "Takes double tags and doubled commas and spaces out." }[key];
    note.hidden = !note.textContent;
    look();
    (find.element.hidden ? (put.element.hidden ? apply : put.input) : find.input).focus();
  }
  choose(kind);
}

/** Both texts, what differs marked: the same beginning and end are plain. */
export function difference(before, after) {
  let start = 0, end = 0;
  const most = Math.min(before.length, after.length);
  while (start < most && before[start] === after[start]) start += 1;
  while (end < most - start && before.at(-1 - end) === after.at(-1 - end)) end += 1;
  const from = Math.max(0, start - 60), cut = (text) => (text.length > 160 ? `${text.slice(0, 160)}…` : text);
  return h("span", { dir: "auto" }, from > 0 && "…", before.slice(from, start), h("del", {}, cut(before.slice(start, before.length - end))), h("ins", {}, cut(after.slice(start, after.length - end))), cut(before.slice(before.length - end)));
}

/** Whether these captions are to be written, with what each of them changes. */
export function askToWrite(changes, folder) {
  return new Promise((done) => {
    let yes = false;
    const one = changes.length === 1;
    const write = h("button.primary", { type: "button", onclick: () => { yes = true; box.close(); } }, one ? "Write it" : `Write ${changes.length}`);
    const box = dialog(one ? "Write this caption?" : `Write ${changes.length} captions?`, h("p.mono.soft", { dir: "auto" }, folder),
      h("ul.preview", { tabIndex: 0, "aria-label": "What changes" }, changes.slice(0, PREVIEWED).map(({ name, was, text }) => h("li", {}, h("span.note", {}, name), difference(was, text))), changes.length > PREVIEWED && h("li.soft", {}, `and ${changes.length - PREVIEWED} more`)),
      h("div.row", { style: "justify-content:flex-end" }, h("button", { type: "button", onclick: () => box.close() }, "Cancel"), write));
    box.addEventListener("close", () => done(yes));
    write.focus();
  });
}
