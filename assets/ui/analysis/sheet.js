// The pictures and numbers of one analysis, as they come while it runs and as its report has them.
import { number } from "../core.js";

const spot = (epoch, strength) => `${epoch}|${strength}`;
const sorted = (some) => [...new Set(some)].sort((a, b) => a - b);

export class Sheet {
  constructor(name, outline) {
    Object.assign(this, { name, outline, report: null, prompts: [], seeds: [], cells: new Map(), settings: new Map(), metrics: [], seen: new Set(), changes: new Set() });
    this.epochs = [...outline.epochs];
    this.strengths = [...outline.strengths];
    this.judge(null);
  }

  /** Take in what was rendered; returns how many cells are new. */
  take(news) {
    const before = this.cells.size;
    for (const [epoch, strength, prompt, seed, path] of news.cells) {
      const text = news.prompts[prompt];
      if (!this.prompts.includes(text)) this.prompts.push(text);
      if (!this.seeds.includes(seed)) this.seeds = sorted([...this.seeds, seed]);
      this.shape(epoch, strength);
      this.seen.add(spot(epoch, strength));
      const key = this.key(epoch, strength, text, seed), known = this.cells.get(key);
      this.cells.set(key, { ...known, epoch, strength, prompt: text, seed, picture: `${this.outline.folder}/${path}` });
    }
    return this.cells.size - before;
  }

  shape(epoch, strength) {
    if (epoch && !this.epochs.includes(epoch)) this.epochs = sorted([...this.epochs, epoch]);
    if (epoch && !this.strengths.includes(strength)) this.strengths = sorted([...this.strengths, strength]);
  }

  /** Take in the report, which has all. */
  conclude(report) {
    this.report = report;
    this.metrics = report.metrics;
    this.prompts = report.prompts.map((one) => one.text);
    this.seeds = report.seeds;
    this.epochs = sorted(report.summary.map((one) => one.epoch));
    this.strengths = sorted(report.summary.map((one) => one.strength));
    const place = (picture) => (picture && !/^([/\\]|[A-Za-z]:)/.test(picture) ? `${report.folder}/${picture}` : picture);
    const put = (one, epoch, strength) => {
      const text = this.prompts[one.prompt], seed = this.seeds[one.seed];
      this.cells.set(this.key(epoch, strength, text, seed), { ...one, epoch, strength, prompt: text, seed, picture: place(one.picture), own: one.control && place(one.control.picture) });
    };
    this.cells.clear();
    for (const one of report.controls) put(one, 0, 0);
    for (const one of report.cells) put(one, one.epoch, one.strength);
    this.settings = new Map(report.summary.map((one) => [spot(one.epoch, one.strength), { ...one, metrics: { ...one.metrics } }]));
    for (const one of report.judged) Object.assign(this.settings.get(spot(one.epoch, one.strength))?.metrics ?? {}, one.metrics);
    this.changes = new Set(report.summary.flatMap((one) => Object.keys(one.difference).filter((name) => one.difference[name].mean !== null)));
    this.labels = new Map(report.checkpoints.map((one) => [one.epoch, one.label]));
    this.copies = new Map(report.verdict.copies.map((one) => [this.key(one.epoch, one.strength, this.prompts[one.prompt], this.seeds[one.seed]), one]));
    this.judge(report.verdict);
  }

  /** Mark settings as a verdict has them: the report's, or another rule's. */
  judge(verdict) {
    this.verdict = verdict;
    this.choice = verdict?.choice ? spot(verdict.choice.epoch, verdict.choice.strength) : null;
    this.tied = new Set((verdict?.tied ?? []).map((one) => spot(one.epoch, one.strength)));
    this.vetoed = new Map((verdict?.vetoed ?? []).map((one) => [spot(one.epoch, one.strength), one.reasons]));
    this.chances = new Map((verdict?.chance ?? []).map((one) => [spot(one.epoch, one.strength), one.p]));
  }

  key(epoch, strength, prompt, seed) { return `${epoch}|${strength}|${seed}|${prompt}`; }
  cell(epoch, strength, prompt, seed) { return this.cells.get(this.key(epoch, strength, prompt, seed)); }
  control(prompt, seed) { return this.cell(0, 0, prompt, seed); }
  /** The base model's picture that a cell is compared with. */
  base(cell) { return cell.own ? { picture: cell.own } : this.control(cell.prompt, cell.seed); }
  at(epoch, strength) { return this.settings.get(spot(epoch, strength)); }
  exists(epoch, strength) { return this.settings.size === 0 ? this.outline.strengths.includes(strength) || this.seen.has(spot(epoch, strength)) : this.settings.has(spot(epoch, strength)); }
  label(epoch) { return this.labels?.get(epoch) ?? `epoch ${epoch}`; }
  called(epoch, strength) { return epoch ? `${this.label(epoch)} at strength ${strength}` : strength ? `strength ${strength}` : "the base model"; }

  standing(epoch, strength) {
    const at = spot(epoch, strength);
    if (at === this.choice) return "pick";
    if (this.vetoed.has(at)) return "out";
    return this.tied.has(at) ? "tie" : "";
  }
  standingWords(epoch, strength) {
    const at = spot(epoch, strength), words = [];
    if (at === this.choice) words.push("the choice");
    else if (this.tied.has(at)) words.push("cannot be told apart from the best");
    if (this.vetoed.has(at)) words.push(`ruled out: ${this.vetoed.get(at).join("; ")}`);
    return words;
  }
  chance(epoch, strength) { return this.chances.get(spot(epoch, strength)); }

  metric(name) { return this.metrics.find((one) => one.name === name); }
  hasChange(name) { return this.changes.has(name); }
  /** {mean, low, high} of a metric at a setting, as a change from the base model where it has one and that is asked for. */
  value(name, epoch, strength, change) {
    const row = this.at(epoch, strength);
    const found = change && this.hasChange(name) ? row?.difference?.[name] : row?.metrics?.[name];
    return found && found.mean !== null && found.mean !== undefined ? found : null;
  }
  /** Metrics that have numbers, those of one axis or all. */
  measured(axis) { return this.metrics.filter((one) => (!axis || one.axis === axis) && [...this.settings.values()].some((row) => row.metrics[one.name]?.mean !== null && row.metrics[one.name] !== undefined)); }
  baseOf(name) { return this.report?.judged_base?.[name]?.mean ?? null; }
}

/** Places after the point that tell values apart. */
export function places(values) {
  const spread = values.length ? Math.max(...values) - Math.min(...values) : 0;
  return spread > 0 ? Math.min(5, Math.max(0, 1 - Math.floor(Math.log10(spread)))) : 3;
}
export function written(value, digits, signed = false) {
  if (value === null || value === undefined) return "–";
  const text = Math.abs(value).toFixed(digits), zero = Number(text) === 0;
  return value < 0 && !zero ? `−${text}` : signed && !zero ? `+${text}` : text;
}
export const spanWords = (value, digits, signed) => (value.low === null || value.high === null || value.low === undefined ? written(value.mean, digits, signed) : `${written(value.mean, digits, signed)} (${written(value.low, digits, signed)} to ${written(value.high, digits, signed)})`);
export const way = (metric) => (metric.better === "neither" ? "neither way is better" : `${metric.better} is better`);
export const short = (value) => number(value, 3);

// Viridis: even steps in lightness, read alike by the colour-blind and in grey.
const VIRIDIS = [[68, 1, 84], [71, 45, 123], [59, 82, 139], [44, 114, 142], [33, 145, 140], [40, 174, 128], [94, 201, 98], [173, 220, 48], [253, 231, 37]];
export function colour(share) {
  const at = (0.06 + 0.94 * Math.min(1, Math.max(0, share))) * (VIRIDIS.length - 1), low = Math.min(VIRIDIS.length - 2, Math.floor(at));
  const mix = VIRIDIS[low].map((value, i) => Math.round(value + (VIRIDIS[low + 1][i] - value) * (at - low)));
  const [r, g, b] = mix.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
  return { back: `rgb(${mix.join(" ")})`, ink: 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff" };
}

/** Arrow keys between the buttons of a table; one of them is reached by Tab. */
export function rove(table, first) {
  const buttons = () => [...table.tBodies[0].rows].map((row) => [...row.querySelectorAll("button[data-at]")]);
  const all = buttons().flat();
  for (const button of all) button.tabIndex = -1;
  const start = all.find((button) => button.dataset.at === first) ?? all[0];
  if (start) start.tabIndex = 0;
  if (table.dataset.roves) return;
  table.dataset.roves = "yes";
  table.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const from = event.target.closest("button[data-at]");
    if (!step || !from) return;
    event.preventDefault();
    const next = neighbour(table, from, step);
    if (!next) return;
    from.tabIndex = -1; next.tabIndex = 0; next.focus();
  });
}
function neighbour(table, from, [down, right]) {
  let [row, column] = [Number(from.dataset.row), Number(from.dataset.column)];
  const most = { rows: table.tBodies[0].rows.length, columns: Number(table.dataset.columns) };
  do {
    row += down; column += right;
    if (row < 0 || column < 0 || row >= most.rows || column >= most.columns) return null;
    const next = table.querySelector(`button[data-row="${row}"][data-column="${column}"]`);
    if (next) return next;
  } while (true);
}
