// The pictures: epochs down, strengths across, one prompt and seed at a time; beside them the base model's own.
import { fill, h, thumb } from "../core.js";
import { colour, places, rove, spanWords, written } from "./sheet.js";

/** Draw into `place`; returns draw() for when the shape or the shot changed, and fresh() for new pictures. */
export function grid(place, sheet, view, onopen) {
  const table = h("table.cells");
  const hint = h("p.note", {}, "Arrow keys walk, Enter opens; [ and ] change the prompt, comma and full stop the seed.");
  const frame = h("div.sheet", {}, table);
  fill(place, frame, hint);
  const buttons = new Map();
  let shape = "", baseShown = "";

  function draw() {
    const now = JSON.stringify([sheet.epochs, sheet.strengths, sheet.settings.size]);
    if (now !== shape) build();
    shape = now;
    update();
  }
  function build() {
    const held = document.activeElement?.closest?.("table.cells button")?.dataset.at;
    buttons.clear(); baseShown = "";
    frame.classList.toggle("tall", sheet.epochs.length > 10);
    table.dataset.columns = sheet.strengths.length;
    table.style.setProperty("--columns", sheet.strengths.length);
    const head = h("tr", {}, h("th.corner", { scope: "col" }, "Epoch"), h("th", { scope: "col" }, "Base"), sheet.strengths.map((one) => h("th", { scope: "col" }, one)));
    const rows = sheet.epochs.map((epoch, row) => h("tr", {}, h("th", { scope: "row" }, sheet.label(epoch).replace(/^epoch /, "")),
      row === 0 && h("td.base", { rowSpan: sheet.epochs.length }, h("div.held", {})),
      sheet.strengths.map((strength, column) => one(epoch, strength, row, column))));
    fill(table, h("caption.hidden", {}, "Pictures by epoch and strength"), h("thead", {}, head), h("tbody", {}, rows));
    rove(table, held ?? sheet.choice);
    if (held) table.querySelector(`button[data-at="${held}"]`)?.focus();
  }
  function one(epoch, strength, row, column) {
    if (!sheet.exists(epoch, strength)) return h("td.none");
    const image = h("img", { loading: "lazy", decoding: "async", alt: "", hidden: true }), words = h("span.score");
    const button = h("button.cell", { type: "button", "data-at": `${epoch}|${strength}`, "data-row": row, "data-column": column, onclick: () => onopen(epoch, strength) }, h("span.frame", {}, image), words);
    buttons.set(`${epoch}|${strength}`, { button, image, words, epoch, strength });
    return h("td", {}, button);
  }

  function update() {
    const metric = sheet.metric(view.metric);
    const values = metric ? [...buttons.values()].map(({ epoch, strength }) => sheet.cell(epoch, strength, view.prompt, view.seed)?.scores?.[metric.name]).filter((v) => v !== null && v !== undefined) : [];
    const range = { low: Math.min(...values), high: Math.max(...values), digits: places(values) };
    for (const each of buttons.values()) dress(each, metric, range);
    base();
  }
  function dress({ button, image, words, epoch, strength }, metric, range) {
    const cell = sheet.cell(epoch, strength, view.prompt, view.seed), score = metric ? cell?.scores?.[metric.name] : undefined;
    const src = cell?.picture ? thumb(cell.picture, view.large ? 320 : 160) : "";
    if (src && image.getAttribute("src") !== src) image.src = src;
    image.hidden = !src;
    const standing = sheet.standing(epoch, strength);
    button.className = ["cell", standing, cell ? (cell.status && cell.status !== "ok" ? "failed" : "") : "awaited"].filter(Boolean).join(" ");
    words.textContent = metric ? written(score, range.digits) : "";
    if (metric && score !== null && score !== undefined && metric.better !== "neither") {
      const share = range.high > range.low ? (score - range.low) / (range.high - range.low) : 0.5;
      words.style.setProperty("--dot", colour(metric.better === "lower" ? 1 - share : share).back);
    } else words.style.removeProperty("--dot");
    const setting = metric && sheet.value(metric.name, epoch, strength, false);
    button.setAttribute("aria-label", [sheet.called(epoch, strength), cell ? cell.reason : "not rendered yet", metric && score !== undefined && `${metric.title} ${written(score, range.digits)}`, ...sheet.standingWords(epoch, strength)].filter(Boolean).join(". "));
    button.title = [sheet.called(epoch, strength), setting && `${metric.title}, all its pictures: ${spanWords(setting, range.digits + 1)}`, cell?.reason, ...sheet.standingWords(epoch, strength)].filter(Boolean).join("\n");
  }
  function base() {
    const held = table.querySelector(".base .held"), control = sheet.control(view.prompt, view.seed);
    const src = control?.picture ? thumb(control.picture, 320) : "";
    if (!held || src === baseShown) return;
    baseShown = src;
    fill(held, src ? h("button.cell", { type: "button", "aria-label": "The base model's own picture", title: "The base model's own picture", onclick: () => onopen(0, 0) }, h("span.frame", {}, h("img", { src, alt: "" }))) : h("span.frame.none"));
  }
  draw();
  return { draw, update };
}
