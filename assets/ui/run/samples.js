// Sample pictures as they come: one epoch large, all of them below it, and any two over one another.
import { compare } from "../compare.js";
import { fill, h, picture, thumb } from "../core.js";

/** The card of a run's samples; returns draw(tale, path of the run). */
export function samples(place) {
  const slide = h("input", { type: "range", min: 0, max: 0, step: 1, value: 0, id: "epoch" });
  const told = h("output.figures", { htmlFor: "epoch" }), strip = h("div.strip"), heads = h("tr", {}, h("th", { scope: "col" }, h("span.hidden", {}, "Prompt"))), body = h("tbody");
  const none = h("p.note", {}), bar = h("div.row.scrub", {}, h("label", { htmlFor: "epoch" }, "Epoch"), slide, told);
  const sheet = h("div.scroll.sheet", { tabIndex: 0, role: "region", "aria-label": "All samples, by prompt and epoch" }, h("table", {}, h("thead", {}, heads), body));
  const section = h("section.card.stack.samples", { "aria-label": "Samples" }, h("div.row.between", {}, h("h2", {}, "Samples"), bar), none, strip, sheet);
  place.append(section);
  const shown = { prompts: [], columns: [], cells: new Map(), figures: [], follows: true, at: -1, run: "" };
  slide.addEventListener("input", () => { shown.follows = Number(slide.value) >= newest(); go(Number(slide.value)); });

  function go(at) {
    shown.at = at;
    const column = shown.columns[at];
    told.textContent = column ? `${column.words}${column.step ? `, step ${column.step}` : ""}` : "";
    slide.setAttribute("aria-valuetext", told.textContent);
    shown.prompts.forEach((prompt, row) => {
      const { image, button } = shown.figures[row], sample = sampleOf(prompt, column);
      const src = sample ? address(sample, 640) : "";
      if (image.getAttribute("src") !== src) src ? image.setAttribute("src", src) : image.removeAttribute("src");
      image.alt = sample ? `${prompt.text}, ${column.words}` : "";
      button.disabled = !sample;
    });
    for (const cell of sheet.querySelectorAll("[data-column]")) cell.classList.toggle("at", Number(cell.dataset.column) === at);
  }
  const sampleOf = (prompt, column) => column && shown.cells.get(`${prompt.key} ${column.step}`);
  const address = (sample, side) => `${thumb(`${shown.run}/${sample.path}`, side)}&v=${sample.time}`;

  /** The newest epoch whose pictures are all there, so that none is empty while they come one by one. */
  const newest = () => Math.max(0, shown.columns.findLastIndex((column) => shown.prompts.every((prompt) => sampleOf(prompt, column))));

  function addPrompt(key, sample) {
    const prompt = { key, text: sample.prompt }, row = shown.prompts.push(prompt) - 1;
    const image = h("img.picture", { alt: "" }), button = h("button.zoom", { type: "button", onclick: () => zoom(row, shown.at), "aria-label": `Compare ${sample.prompt} with the base model` }, image);
    shown.figures.push({ image, button });
    strip.append(h("figure", {}, button, h("figcaption", { dir: "auto", title: `seed ${sample.seed}` }, sample.prompt || "(no words)")));
    body.append(h("tr", {}, h("th", { scope: "row", dir: "auto" }, sample.prompt || "(no words)"), shown.columns.map((column, n) => place_(row, n))));
  }
  const place_ = (row, n) => h("td", { "data-column": n, "data-row": row });

  function addColumn(sample) {
    const words = sample.step === 0 ? "Base" : `Epoch ${sample.epoch}`, n = shown.columns.length;
    shown.columns.push({ step: sample.step, epoch: sample.epoch, words });
    heads.append(h("th", { scope: "col", "data-column": n }, h("button.plain", { type: "button", onclick: () => { slide.value = n; slide.dispatchEvent(new Event("input")); }, title: `Show ${words.toLowerCase()} above` }, sample.step === 0 ? "Base" : String(sample.epoch))));
    shown.prompts.forEach((prompt, row) => body.children[row].append(place_(row, n)));
    slide.max = n;
  }

  function put(sample) {
    const key = `${sample.prompt} ${sample.seed}`;
    if (!shown.prompts.some((prompt) => prompt.key === key)) addPrompt(key, sample);
    if (!shown.columns.some((column) => column.step === sample.step)) addColumn(sample);
    shown.cells.set(`${key} ${sample.step}`, sample);
    const row = shown.prompts.findIndex((prompt) => prompt.key === key), n = shown.columns.findIndex((column) => column.step === sample.step);
    fill(body.children[row].children[n + 1], h("button.zoom", { type: "button", onclick: () => zoom(row, n), "aria-label": `${sample.prompt}, ${shown.columns[n].words}: compare` },
      h("img", { src: address(sample, 160), alt: "", loading: "lazy", width: 84, height: 84 })));
  }

  function zoom(row, n) {
    const prompt = shown.prompts[row], there = shown.columns.map((column) => ({ column, sample: sampleOf(prompt, column) })).filter((one) => one.sample);
    const side = (one) => ({ src: `${picture(`${shown.run}/${one.sample.path}`)}&v=${one.sample.time}`, label: one.column.words });
    const after = there.find((one) => one.column === shown.columns[n]), last = there.at(-1);
    let before = there[0], over = after ?? last;
    if (before === over) { if (last === over) before = null; else over = last; }
    const open = (left, right) => {
      const choose = (label, one, pick) => h("label.row", {}, label, h("select", { onchange: (e) => { box.close(); pick(there[e.target.value]); } }, there.map((each, i) => h("option", { value: i, selected: each === one }, each.column.words))));
      const box = compare(prompt.text || "Sample", left && side(left), side(right), left && h("div.row", {}, choose("Left", left, (one) => open(one, right)), choose("Right", right, (one) => open(left, one))),
        h("p.note", {}, `Seed ${right.sample.seed}, step ${right.sample.step}`));
    };
    open(before, over);
  }

  return (tale, head, about) => {
    const ends = sheet.scrollLeft + sheet.clientWidth >= sheet.scrollWidth - 8, had = shown.columns.length;
    shown.run = head.path;
    const wide = Math.max(about.prompts ?? 0, shown.prompts.length);
    strip.style.setProperty("--columns", wide > 0 && wide < 7 ? String(wide) : "");
    for (const sample of tale.samples.values()) if (shown.cells.get(`${sample.prompt} ${sample.seed} ${sample.step}`)?.time !== sample.time) put(sample);
    const any = shown.columns.length > 0;
    for (const part of [strip, sheet, bar]) part.hidden = !any;
    bar.hidden = shown.columns.length < 2;
    none.hidden = any;
    none.textContent = head.status === "running" ? "Pictures come here as the run makes them; the base model's own first." : "This run made no samples.";
    if (!any) return;
    const chosen = head.analyses.findLast((each) => each.chosen !== null)?.chosen;
    shown.columns.forEach((column, n) => heads.children[n + 1].classList.toggle("best-epoch", column.step > 0 && column.epoch === chosen));
    if (shown.follows || shown.at < 0) slide.value = newest();
    go(Number(slide.value));
    if (ends && head.status === "running" && shown.columns.length > had) sheet.scrollLeft = sheet.scrollWidth;
  };
}
