// What the rest draws with: the report's values, look-ups, words, colours.

const data = JSON.parse(document.getElementById("data").textContent);
const album = JSON.parse(document.getElementById("album").textContent);
const $ = (id) => document.getElementById(id);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") node.textContent = value;
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}
const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const key = (one) => `${one.epoch}|${one.strength}`;
const shotKey = (one) => `${one.prompt}|${one.seed}`;
const sorted = (some) => [...new Set(some)].sort((a, b) => a - b);

const verdict = data.verdict;
const choice = verdict.choice && key(verdict.choice);
const example = data.example && key(data.example);
const tied = new Set(verdict.tied.map(key));
const vetoed = new Map(verdict.vetoed.map((one) => [key(one), one.reasons]));
const summary = new Map(data.summary.map((one) => [key(one), one]));
const judged = new Map(data.judged.map((one) => [key(one), one.metrics]));
const controls = new Map(data.controls.map((one) => [shotKey(one), one]));
const cells = new Map(data.cells.map((one) => [`${key(one)}|${shotKey(one)}`, one]));
const copies = new Map(verdict.copies.map((one) => [`${key(one)}|${shotKey(one)}`, one]));
const labels = new Map(data.checkpoints.map((one) => [one.epoch, one.label]));
const metrics = new Map(data.metrics.map((one) => [one.name, one]));
const epochs = sorted(data.summary.map((one) => one.epoch));
const strengths = sorted(data.summary.map((one) => one.strength));

const baseOf = (one) => one.control || controls.get(shotKey(one));

const state = { mode: "change", prompt: 0, seed: 0 };

const label = (epoch) => labels.get(epoch) || `epoch ${epoch}`;
const called = (one) => (one.epoch === 0 ? `strength ${one.strength}` : `${label(one.epoch)} at strength ${one.strength}`);
const promptText = (index) => data.prompts[index].text;
const source = (one) =>
  one && one.picture && album[one.picture] ? `data:image/webp;base64,${album[one.picture]}` : null;

function standing(at) {
  if (at === choice) return "pick";
  if (vetoed.has(at)) return "out";
  return tied.has(at) ? "tie" : "";
}

function standingWords(at) {
  const words = [];
  if (at === choice) words.push("the choice");
  else if (tied.has(at)) words.push("cannot be told apart from the best");
  if (vetoed.has(at)) words.push(`ruled out: ${vetoed.get(at).join("; ")}`);
  return words;
}

// A metric at a setting: {mean, low, high}, or null. Judgements and distances have no change.
const hasChange = (name) => data.summary.some((one) => one.difference[name] && one.difference[name].mean !== null);
const asChange = (name) => state.mode === "change" && hasChange(name);

function valueAt(name, at) {
  const row = summary.get(at);
  if (!row) return null;
  const found = asChange(name) ? row.difference[name] : row.metrics[name] || (judged.get(at) || {})[name];
  return found && found.mean !== null && found.mean !== undefined ? found : null;
}

const isMeasured = (name) =>
  data.summary.some((one) => {
    const found = one.metrics[name] || (judged.get(key(one)) || {})[name];
    return found && found.mean !== null;
  });

// Numbers.
const bare = (value, places) => {
  const text = Math.abs(value).toFixed(places);
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
};
const signed = (value, places) => {
  const text = bare(value, places);
  return value > 0 && Number(text) !== 0 ? `+${text}` : text;
};
function placesFor(values, finer = 1) {
  const spread = values.length ? Math.max(...values) - Math.min(...values) : 0;
  return spread > 0 ? Math.min(5, Math.max(0, finer - Math.floor(Math.log10(spread)))) : 3;
}
const written = (name, value, places) => (asChange(name) ? signed : bare)(value, places);

function spanWords(name, value, places) {
  const words = written(name, value.mean, places);
  if (value.low === null || value.high === null || value.low === undefined) return words;
  return `${words} (${written(name, value.low, places)} to ${written(name, value.high, places)})`;
}

const wayWords = (metric) => (metric.better === "neither" ? "no way is better" : `${metric.better} is better`);

// Viridis: even steps in lightness, read alike by the colour-blind and in grey.
const viridis = [[68, 1, 84], [71, 45, 123], [59, 82, 139], [44, 114, 142], [33, 145, 140], [40, 174, 128], [94, 201, 98], [173, 220, 48], [253, 231, 37]];
function colour(share) {
  const at = (0.06 + 0.94 * Math.min(1, Math.max(0, share))) * (viridis.length - 1);
  const low = Math.min(viridis.length - 2, Math.floor(at));
  const mix = viridis[low].map((value, i) => Math.round(value + (viridis[low + 1][i] - value) * (at - low)));
  const [r, g, b] = mix.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
  const light = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return { back: `rgb(${mix.join(" ")})`, ink: light > 0.179 ? "#000" : "#fff" };
}
