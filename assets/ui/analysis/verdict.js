// The verdict in words: what to keep, how sure that is, why, what else would do, what to try next.
import { action, fill, h, post, tell, thumb } from "../core.js";
import { keep } from "./keep.js";

const STATES = { chosen: ["good", "Chosen"], "cannot tell apart": ["open", "Cannot tell apart"], "nothing learned": ["bad", "Nothing learned"], "nothing safe": ["bad", "Nothing safe"], "nothing scored": ["bad", "Nothing scored"] };
const SHOWN = 8, FEW = 8;

/** Draw the card; `rules` is told when another rule's verdict is shown, or the report's own again. */
export function verdict(place, sheet, view, { onopen, onrule }) {
  const report = sheet.report;
  let shown = { verdict: report.verdict, words: report.words };
  const body = h("div.verdict");
  fill(place, body, tryRules(sheet, (told) => { shown = told ?? { verdict: report.verdict, words: report.words }; sheet.judge(shown.verdict); draw(Boolean(told)); onrule(); }));
  function draw(other = false) {
    const told = shown.verdict, [kind, words] = STATES[told.state] ?? ["open", told.state];
    fill(body, h("div.words", {}, h("p.row", {}, h(`span.state.${kind}`, {}, words), other && h("span.note", {}, `by rule ${told.rule}, as a trial`)), h("h2.headline", {}, told.headline),
      told.thin && h("p.advice", {}, told.thin), next(shown.words), told.choice && file(sheet, told.choice),
      h("div.row", {}, told.choice && report.source.kind !== "pictures" && h("button.primary", { type: "button", onclick: () => keep(sheet, told.choice) }, "Keep this file"), told.choice && report.source.kind === "run" && h("a.button", { href: `/generate?${new URLSearchParams({ run: sheet.name.split("/")[0], ...told.choice })}` }, "Generate with it"), h("a.button", { href: `/report?work=${encodeURIComponent(sheet.name)}`, target: "_blank", rel: "noopener" }, "Open the report"), h("a.button", { href: `/analysis?vote=${encodeURIComponent(sheet.name)}` }, "Vote blind")),
      sure(shown.words)), pictures(sheet, told, view, onopen), more(sheet, shown, onopen));
  }
  draw();
}

const next = (words) => words.next.length > 0 && h("p.advice", {}, h("b", {}, "What to try next: "), words.next.join(" "));

function file(sheet, choice) {
  const found = sheet.report.checkpoints.find((one) => one.epoch === choice.epoch);
  return found?.file && h("p.mono.soft", {}, `${found.file} at strength ${choice.strength}`);
}

function sure(words) {
  return h("dl.sure", {}, words.facts.map((one) => h("div", {}, h("dt", {}, one.term), h("dd", {}, one.words))));
}

/** The chosen setting's pictures above the base model's own; without a choice those of the example. */
function pictures(sheet, told, view, onopen) {
  const at = told.choice ?? sheet.report.example;
  if (!at) return null;
  const shots = sheet.prompts.flatMap((prompt) => sheet.seeds.map((seed) => sheet.cell(at.epoch, at.strength, prompt, seed))).filter((cell) => cell?.picture);
  const few = shots.filter((cell, index) => sheet.prompts.length < 3 || cell.seed === sheet.seeds[0]).slice(0, SHOWN);
  if (!few.length) return null;
  return h("figure.shots", {}, h("div.shotrow", { style: `--n:${few.length <= 4 ? 2 : few.length <= 6 ? 3 : 4}` }, few.map((cell) => { const base = sheet.base(cell); return h("button.shot", { type: "button", title: cell.prompt, "aria-label": `${sheet.called(at.epoch, at.strength)}: ${cell.prompt}`, onclick: () => onopen(at.epoch, at.strength, cell.prompt, cell.seed) },
    h("img", { src: thumb(cell.picture), alt: "", loading: "lazy" }), base?.picture && h("img.from", { src: thumb(base.picture, 160), alt: "", loading: "lazy" })); })),
    h("figcaption.note", {}, `${told.choice ? "" : "Nothing was chosen; this is "}${sheet.called(at.epoch, at.strength)}${few.some((cell) => sheet.base(cell)?.picture) ? ", in the corner the base model's own picture" : ""}.`));
}

function more(sheet, { verdict: told, words }, onopen) {
  const tied = told.tied.filter((one) => !told.choice || one.epoch !== told.choice.epoch || one.strength !== told.choice.strength);
  const chip = (one, index) => h("button.chipset", { type: "button", onclick: () => onopen(one.epoch, one.strength), hidden: index >= 24 }, `${sheet.label(one.epoch)} · ${one.strength}`);
  return h("div.more", {},
    h("section", {}, h("h3", {}, "Why"), h("ul.why", {}, words.why.map((one) => h("li", {}, one)))),
    words.bars.length > 0 && h("section", {}, h("h3", {}, "Likeliest the very best"), h("p.note", {}, "When prompts and seeds are drawn again"), h("ul.bars", {}, words.bars.map((one) => h(one.chosen ? "li.chosen" : "li", {}, h("span", {}, one.name), h("span.figures", {}, one.words), h("span.track", { "aria-hidden": "true" }, h("i", { style: `width:${one.share}%` })))))),
    tied.length > 0 && h("section", {}, h("h3", {}, "Cannot be told apart from the best"), h("div.row.chips", {}, tied.map(chip), tied.length > 24 && h("span.note", {}, `and ${tied.length - 24} more`))),
    words.safe.length > 0 && h("section", {}, h("h3", {}, "Safe strengths"), h("p.note", {}, "Where each epoch acts and holds its quality"), h("ul.safe", {}, words.safe.slice(0, FEW).map(safe)), words.safe.length > FEW && h("details", {}, h("summary", {}, `${words.safe.length - FEW} more`), h("ul.safe", {}, words.safe.slice(FEW).map(safe)))),
    words.ruled.length > 0 && h("section", {}, h("h3", {}, "Ruled out"), h("ul.why", {}, words.ruled.map((one) => h("li", {}, h("b", {}, one.reason), h("span.note", {}, ` ${one.settings.slice(0, FEW).join("; ")}${one.settings.length > FEW ? "; …" : ""}`))))),
    words.faults.length > 0 && h("section", {}, h("h3", {}, "What is missing"), h("ul.why", {}, words.faults.map((one) => h("li", {}, h("details", {}, h("summary", {}, `${one.count} × ${one.what}: ${one.reason}`), h("ul.note", {}, one.names.map((name) => h("li", {}, name)), one.more > 0 && h("li", {}, `and ${one.more} more`))))))));
}

const safe = (one) => h("li", {}, h("span", {}, one.label), h("span.track", { "aria-hidden": "true" }, h("i", { style: `left:${one.left}%;width:max(${one.width}%, 6px)` })), h("span.figures", {}, one.words));

/** Another rule on the same pictures: nothing is rendered, nothing is written until one asks for it. */
function tryRules(sheet, show) {
  const report = sheet.report, scored = sheet.metrics.filter((m) => m.better !== "neither" && report.cells.some((cell) => cell.scores[m.name] !== null && cell.scores[m.name] !== undefined));
  const rule = h("select", { id: "rule" }, [["", `As the report: ${report.verdict.rule}`], ["ancestor", "ancestor: the lowest BRISQUE"], ["weights", "weights: what you say counts"], ["sweetspot", "sweetspot: most learned, quality held"]].filter(([key]) => key !== report.verdict.rule && (key !== "ancestor" || scored.some((m) => m.name === "brisque"))).map(([key, words]) => h("option", { value: key }, words)));
  const weights = h("div.row.weights", { hidden: true }, scored.map((m) => h("label", {}, `${m.title} `, h("input", { type: "number", step: 0.5, min: 0, value: m.axis === "learned" ? 1 : 0, "data-metric": m.name, oninput: () => soon() }))));
  const lasting = action("Make it the verdict", async () => { await post("/api/analysis/again", { work: sheet.name, rule: rule.value, weights: given() }); }, { hidden: true, title: "Scores again by this rule and writes the report; pictures that are there are not rendered again" });
  const note = h("p.note", { "aria-live": "polite" });
  const given = () => (rule.value === "weights" ? [...weights.querySelectorAll("input")].filter((one) => Number(one.value) > 0).map((one) => `${one.dataset.metric}=${Number(one.value)}`) : []);
  let timer = 0;
  const soon = () => { clearTimeout(timer); timer = setTimeout(apply, 300); };
  async function apply() {
    weights.hidden = rule.value !== "weights"; lasting.hidden = !rule.value || report.source.kind === "pictures"; note.textContent = "";
    if (!rule.value) return show(null);
    if (rule.value === "sweetspot") { show(null); note.textContent = "This rule asks the model itself again; make it the verdict to see what it says."; return null; }
    try { show(await post("/api/analysis/rule", { work: sheet.name, rule: rule.value, weights: given() })); }
    catch (error) { note.textContent = `${error.message}${error.hint ? ` Try: ${error.hint}.` : ""}`; }
    return null;
  }
  rule.addEventListener("change", () => apply().catch(tell));
  return h("div.rules", {}, h("label", { htmlFor: "rule" }, "By which rule"), rule, weights, lasting, note);
}
