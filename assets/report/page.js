"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "text") node.textContent = value;
      else if (value !== null && value !== false) node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  };
  const key = (epoch, strength) => `${epoch}|${strength}`;
  const choice = data.verdict.choice && key(data.verdict.choice.epoch, data.verdict.choice.strength);
  const tied = new Set(data.verdict.tied.map((s) => key(s.epoch, s.strength)));
  const vetoed = new Map(data.verdict.vetoed.map((s) => [key(s.epoch, s.strength), s.reasons]));
  const epochs = [...new Set(data.summary.map((s) => s.epoch))].sort((a, b) => a - b);
  const strengths = [...new Set(data.summary.map((s) => s.strength))].sort((a, b) => a - b);
  const judged = new Map(data.judged.map((s) => [key(s.epoch, s.strength), s.metrics]));
  const rows = new Map(data.summary.map((s) => [key(s.epoch, s.strength), s]));
  const cells = new Map(data.cells.map((c) => [`${key(c.epoch, c.strength)}|${c.prompt}|${c.seed}`, c]));
  const controls = new Map(data.controls.map((c) => [`${c.prompt}|${c.seed}`, c]));
  const metric = (name) => data.metrics.find((m) => m.name === name);
  const number = (v) => (v === null || v === undefined ? "-" : Math.abs(v) >= 100 ? v.toFixed(0) : Math.abs(v) >= 10 ? v.toFixed(1) : v.toFixed(3));
  const label = (epoch) => (data.checkpoints.find((c) => c.epoch === epoch) || { label: `epoch ${epoch}` }).label;
  const picture = (c) => (c && c.picture && data.pictures[c.picture]) || null;

  // Colours: cividis, which reads the same for the colour-blind.
  const stops = [[0, 34, 78], [53, 69, 108], [102, 105, 112], [148, 142, 119], [200, 184, 102], [254, 232, 56]];
  const colour = (share) => {
    const at = Math.min(0.9999, Math.max(0, share)) * (stops.length - 1);
    const low = Math.floor(at);
    const mix = stops[low].map((v, i) => Math.round(v + (stops[low + 1][i] - v) * (at - low)));
    const bright = (0.299 * mix[0] + 0.587 * mix[1] + 0.114 * mix[2]) / 255;
    return { back: `rgb(${mix.join(",")})`, ink: bright > 0.48 ? "#000" : "#fff" };
  };

  const valueAt = (name, at) => {
    const row = rows.get(at);
    if (row && row.metrics[name]) return row.metrics[name];
    const said = judged.get(at);
    return (said && said[name]) || null;
  };

  function heat(place, name) {
    const told = metric(name);
    const found = data.summary.map((s) => valueAt(name, key(s.epoch, s.strength))).filter((v) => v && v.mean !== null).map((v) => v.mean);
    const low = Math.min(...found), high = Math.max(...found);
    const head = make("tr", {}, make("th", { scope: "col", text: "epoch \\ strength" }), ...strengths.map((s) => make("th", { scope: "col", text: s })));
    const body = epochs.map((epoch) => make("tr", {}, make("th", { scope: "row", text: label(epoch) }), ...strengths.map((strength) => {
      const at = key(epoch, strength), value = valueAt(name, at);
      if (!value || value.mean === null) return make("td", { class: "empty", text: rows.has(at) ? "-" : "" });
      const shade = colour(high > low ? (value.mean - low) / (high - low) : 0.5);
      const classes = [at === choice && "pick", at !== choice && tied.has(at) && "tie", vetoed.has(at) && "out"].filter(Boolean);
      const words = [`${label(epoch)} at ${strength}: ${number(value.mean)}`];
      if (value.low !== null && value.low !== undefined) words.push(`interval ${number(value.low)} to ${number(value.high)}`);
      if (vetoed.has(at)) words.push(`ruled out: ${vetoed.get(at).join("; ")}`);
      if (at === choice) words.push("the choice");
      return make("td", { class: classes.join(" "), style: `background-color:${shade.back};color:${shade.ink}`, title: words.join(". "), text: number(value.mean) });
    })));
    const way = told.better === "neither" ? "no way is better" : `${told.better} is better`;
    place.replaceChildren(
      make("table", { class: "heat" }, make("caption", { class: "note", text: `${told.title}: ${way}` }), make("thead", {}, head), make("tbody", {}, ...body)));
  }

  const svg = (tag, attributes, text) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };

  function curve(place, name, axis) {
    const told = metric(name);
    const best = data.verdict.choice || { epoch: epochs[epochs.length - 1], strength: strengths.reduce((a, b) => (Math.abs(b - 1) < Math.abs(a - 1) ? b : a)) };
    const points = (axis === "epoch" ? epochs : strengths).map((x) => {
      const at = axis === "epoch" ? key(x, best.strength) : key(best.epoch, x);
      return { x, at, value: valueAt(name, at) };
    }).filter((p) => p.value && p.value.mean !== null);
    const fixed = axis === "epoch" ? `at strength ${best.strength}` : `at ${label(best.epoch)}`;
    const title = `${told.title} over ${axis}, ${fixed}`;
    if (!points.length) { place.replaceChildren(make("p", { class: "note", text: `${title}: nothing to show.` })); return; }
    const W = 520, H = 250, L = 58, R = 14, T = 12, B = 36;
    const lows = points.map((p) => p.value.low ?? p.value.mean), highs = points.map((p) => p.value.high ?? p.value.mean);
    let low = Math.min(...lows), high = Math.max(...highs);
    if (high === low) { high += 0.5; low -= 0.5; }
    const xs = points.map((p) => p.x), first = Math.min(...xs), last = Math.max(...xs);
    const X = (x) => L + (W - L - R) * (last > first ? (x - first) / (last - first) : 0.5);
    const Y = (y) => T + (H - T - B) * (1 - (y - low) / (high - low));
    const node = svg("svg", { class: "curve", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${title}: ${points.map((p) => `${p.x}: ${number(p.value.mean)}`).join(", ")}` });
    for (const share of [0, 0.5, 1]) {
      const y = low + (high - low) * share;
      node.append(svg("line", { class: "axis", x1: L, x2: W - R, y1: Y(y), y2: Y(y) }), svg("text", { x: L - 8, y: Y(y) + 4, "text-anchor": "end" }, number(y)));
    }
    node.append(svg("path", { class: "band", d: "M" + points.map((p, i) => `${X(p.x)},${Y(highs[i])}`).join("L") + "L" + points.map((p, i) => `${X(p.x)},${Y(lows[i])}`).reverse().join("L") + "Z" }));
    node.append(svg("path", { class: "line", d: "M" + points.map((p) => `${X(p.x)},${Y(p.value.mean)}`).join("L") }));
    for (const p of points) {
      node.append(svg("circle", { cx: X(p.x), cy: Y(p.value.mean), r: p.at === choice ? 6 : 4, class: p.at === choice ? "pick" : "" }));
      node.append(svg("text", { x: X(p.x), y: H - 14, "text-anchor": "middle" }, String(p.x)));
    }
    place.replaceChildren(make("h3", { text: title }), node);
  }

  // The contact sheet, and the dialog that a picture opens.
  let shown = [], at = 0;
  function sheet() {
    const prompt = Number($("prompt").value), seed = Number($("seed").value);
    const control = controls.get(`${prompt}|${seed}`);
    shown = [];
    const shot = (cell, name, classes) => {
      const source = picture(cell);
      if (!source) return make("div", { class: "gap", text: cell ? cell.reason || cell.status : "" });
      const place = shown.push({ cell, name }) - 1;
      const button = make("button", { class: `shot ${classes}`, type: "button", "aria-label": name }, make("img", { src: source, alt: "", loading: "lazy" }));
      button.addEventListener("click", () => open(place));
      return button;
    };
    const head = make("tr", {}, make("th", { scope: "col", text: "" }), ...strengths.map((s) => make("th", { scope: "col", text: s })));
    const body = epochs.map((epoch) => make("tr", {}, make("th", { scope: "row", text: label(epoch) }), ...strengths.map((strength) => {
      const where = key(epoch, strength);
      const classes = [where === choice && "pick", vetoed.has(where) && "out"].filter(Boolean).join(" ");
      return make("td", {}, shot(cells.get(`${where}|${prompt}|${seed}`), `${label(epoch)} at strength ${strength}`, classes));
    })));
    const base = make("tr", {}, make("th", { scope: "row", text: "base model" }), make("td", {}, shot(control, "the base model", "")));
    $("sheet").replaceChildren(make("table", { class: "sheet" }, make("thead", {}, head), make("tbody", {}, base, ...body)));
  }

  const dialog = $("zoom");
  function open(place) {
    at = (place + shown.length) % shown.length;
    const { cell, name } = shown[at];
    const prompt = data.prompts[cell.prompt];
    $("zoom-title").textContent = `${name} · ${prompt.text} · seed ${data.seeds[cell.seed]}`;
    $("zoom-over").src = picture(cell);
    $("zoom-under").src = picture(controls.get(`${cell.prompt}|${cell.seed}`)) || picture(cell);
    $("zoom-scores").replaceChildren(...data.metrics.filter((m) => m.name in cell.scores && cell.scores[m.name] !== null).map((m) => make("span", { text: `${m.title}: ${number(cell.scores[m.name])}` })));
    if (!dialog.open) dialog.showModal();
  }
  $("zoom-close").addEventListener("click", () => dialog.close());
  $("zoom-before").addEventListener("click", () => open(at - 1));
  $("zoom-after").addEventListener("click", () => open(at + 1));
  dialog.addEventListener("keydown", (event) => {
    if (event.target.type === "range") return;
    if (event.key === "ArrowLeft") open(at - 1);
    if (event.key === "ArrowRight") open(at + 1);
  });
  for (const slide of document.querySelectorAll("input.slide")) {
    const frame = $(slide.dataset.for);
    const turn = () => frame.style.setProperty("--cut", `${slide.value}%`);
    slide.addEventListener("input", turn);
    turn();
  }

  // Pickers.
  const options = (place, some) => place.replaceChildren(...some.map(([value, text]) => make("option", { value, text })));
  const of = (axis) => data.metrics.filter((m) => (axis ? m.axis === axis : true) && data.summary.some((s) => { const v = valueAt(m.name, key(s.epoch, s.strength)); return v && v.mean !== null; }));
  const learned = [...of("learned"), ...of("aside")], quality = of("quality");
  const pick = (id, some, preferred, draw) => {
    const place = $(id);
    options(place, some.map((m) => [m.name, m.title]));
    if (preferred && some.some((m) => m.name === preferred)) place.value = preferred;
    const turn = () => place.value && draw(place.value);
    place.addEventListener("change", turn);
    turn();
  };
  pick("pick-learned", learned, data.verdict.learned_metric, (name) => heat($("heat-learned"), name));
  pick("pick-quality", quality.length ? quality : learned, "brisque", (name) => heat($("heat-quality"), name));
  pick("pick-curve", of(null), data.verdict.learned_metric, (name) => { curve($("over-epoch"), name, "epoch"); curve($("over-strength"), name, "strength"); });
  options($("prompt"), data.prompts.map((p, i) => [i, p.kind === "plain" ? `${p.text} (without trigger)` : p.text]));
  options($("seed"), data.seeds.map((s, i) => [i, s]));
  for (const id of ["prompt", "seed"]) $(id).addEventListener("change", sheet);
  sheet();

  // The table sorts by any column.
  const table = $("settings");
  table.querySelectorAll("th button").forEach((button, column) => button.addEventListener("click", () => {
    const th = button.parentElement, rising = th.getAttribute("aria-sort") !== "ascending";
    table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    th.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const value = (row) => { const text = row.children[column].dataset.value; return text === "" ? null : Number.isNaN(Number(text)) ? text : Number(text); };
    const sorted = [...table.tBodies[0].rows].sort((a, b) => {
      const x = value(a), y = value(b);
      if (x === null || y === null) return (x === null) - (y === null);
      return (x < y ? -1 : x > y ? 1 : 0) * (rising ? 1 : -1);
    });
    table.tBodies[0].append(...sorted);
  }));
})();
