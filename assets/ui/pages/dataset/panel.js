// The panel beside the pictures: the settings they are seen with, what a check found, and their sizes.
import { action, bar, duration, fill, h } from "../../core.js";
import { form } from "../../form.js";

const FIRST = ["resolution", "dataset.bucket_step", "dataset.trigger", "dataset.class_word"];
const OTHERS = ["dataset.buckets", "dataset.upscale", "dataset.shuffle_tags", "dataset.keep_tags", "dataset.tag_dropout", "dataset.caption_dropout", "dataset.template", "dataset.repeats", "epoch", "seed"];

/** `changed(values)` is told the settings that differ from their defaults. */
export function panel(page, specs, given, changed) {
  const by = new Map(specs.map((spec) => [spec.path, spec]));
  const pick = (paths) => paths.map((path) => by.get(path)).filter(Boolean);
  const first = h("div.basics"), rest = h("details", {}, h("summary", {}, "More settings"));
  const forms = [form(first, pick(FIRST), { onchange: soon }), form(rest, pick(OTHERS), { onchange: soon })];
  forms[1].advanced(true); forms[0].advanced(true);
  for (const one of forms) one.set(given, Object.fromEntries(Object.keys(given).map((path) => [path, "yours"])));
  if (OTHERS.some((path) => path in given)) rest.open = true;
  let timer = 0;
  function soon() { clearTimeout(timer); timer = setTimeout(() => changed(own()), 450); }
  function own() {
    const values = { ...forms[0].values(), ...forms[1].values() };
    return Object.fromEntries(Object.entries(values).filter(([path, value]) => JSON.stringify(value) !== JSON.stringify(by.get(path).default)));
  }
  const verdict = h("section.card.stack", { "aria-label": "Check" }), sizes = h("section.card.stack", { "aria-label": "Sizes" });
  const settings = h("section.card.seen", { "aria-label": "As training sees them" }, h("h2", {}, "As training sees them"), first, rest);
  const body = h("div.stack"), summary = h("summary", {}, "Settings, check and sizes"), element = h("details.panel", { open: true }, summary, body);
  fill(body, verdict, settings, sizes);
  const narrow = matchMedia("(max-width: 1240px)");
  const fit = () => { element.open = !narrow.matches; };
  narrow.addEventListener("change", fit); fit();
  return {
    element,
    wrong(problem) {
      const told = [{ where: problem.where, problem: problem.message, hint: problem.hint }];
      const left = forms.map((one) => one.wrong(told).left.length);
      if (!left[1]) rest.open = true;
      if (Math.min(...left) === 0) element.open = true;
      return Math.min(...left) === 0;
    },
    right() { for (const one of forms) one.wrong([]); },
    drawCheck() {
      const reasons = against(page);
      fill(verdict, checked(page, reasons));
      fill(summary, reasons.length ? h("span.bad", {}, "Not ready to train") : "Ready to train", ". Check, settings and sizes");
    },
    drawSizes: () => fill(sizes, bars(page)),
  };
}

/** Why a run would not go through. */
function against({ view, cards, findings }) {
  const bad = cards.filter((card) => findings(card).some((f) => f.kind === "damaged")).length;
  return [...view.refusals, bad && `${bad === 1 ? "1 picture is" : `${bad} pictures are`} damaged: a run ends when it comes to one.`].filter(Boolean);
}
function checked(page, reasons) {
  const { view, check } = page;
  const whole = check?.status === "completed";
  const count = view.cards.length === 1 ? "1 picture" : `${view.cards.length} pictures`;
  return [h("h2", {}, reasons.length ? "Not ready to train" : "Ready to train"),
    h("p.soft.figures", {}, `${count}, ${view.shown} shown an epoch`),
    reasons.map((words) => h("p.problem", {}, words)),
    page.odd.length > 0 && h("ul.words-told", {}, page.odd.map((one) => h("li", {}, h("button.plain", { type: "button", title: "Show these captions", onclick: () => page.search(one.search) }, one.words)))),
    whole ? thorough(page) : running(page),
    view.problems.length > 0 && h("details", {}, h("summary", {}, view.problems.length === 1 ? "1 file is not used as one may think" : `${view.problems.length} files are not used as one may think`), h("ul.files", { tabIndex: 0 }, view.problems.slice(0, 200).map((p) => h("li", {}, h("b", {}, p.name), `: ${p.what}`, p.hint && h("span.note", {}, `. Try: ${p.hint}.`))), view.problems.length > 200 && h("li.soft", {}, `and ${view.problems.length - 200} more`)))];
}
function thorough(page) {
  const groups = page.groups();
  const same = groups.filter((g) => g.group === "same").length, alike = groups.length - same;
  const words = [same && `${same === 1 ? "1 group" : `${same} groups`} of the same file`, alike && `${alike === 1 ? "1 group" : `${alike} groups`} that look alike`].filter(Boolean).join(" and ");
  return h("div.row", {}, h("p.soft", {}, groups.length ? words : "Every picture was decoded; no duplicates."), groups.length > 0 && h("button", { type: "button", onclick: () => page.showGroups() }, "See side by side"));
}
function running({ check, startCheck, stopCheck }) {
  if (!check) return h("p.soft", {}, "…");
  if (check.status === "running" || check.asked) {
    const half = check.total / 2, decoding = check.done > half;
    const words = check.total ? `Looking for damage and duplicates: ${decoding ? Math.round(check.done - half) : check.done} of ${Math.round(half)}${decoding ? "" : " read"}${check.left ? `, ${duration(check.left)} left` : ""}` : "Looking for damage and duplicates…";
    return h("div.stack", {}, h("p.soft.figures", {}, words), bar(check.total ? check.done / check.total : null, "Check"), h("div", {}, h("button.plain", { type: "button", onclick: () => stopCheck() }, "Stop")));
  }
  return h("div.stack", {}, check.problem && h("p.problem", {}, `The check ended: ${check.problem}`), h("div", {}, action("Look for damage and duplicates", () => startCheck())));
}

function bars(page) {
  const counts = new Map();
  for (const card of page.cards) { const size = card.frame ? card.frame.size.join("×") : "too small"; counts.set(size, (counts.get(size) ?? 0) + 1); }
  const most = Math.max(...counts.values(), 1);
  const area = (size) => size.split("×").reduce((w, h_) => Number(w) / Number(h_));
  const sorted = [...counts].sort(([a], [b]) => area(a) - area(b));
  return [h("h2", {}, sorted.length === 1 ? "One size" : `${sorted.length} sizes`), h("div.buckets", {}, sorted.map(([size, count]) => {
    const on = page.bucket === size;
    return h("button.bucket", { type: "button", "aria-pressed": on, title: on ? "Show all sizes" : "Show these only", onclick: () => page.byBucket(on ? "" : size) },
      h("span.figures", {}, size.replace("×", " × ")), h("i", {}, h("b", { style: `width:${100 * count / most}%` })), h("span.figures", {}, String(count)));
  }))];
}
