// Curves and the scatter, as SVG at the size at which they are shown.

function ticks(low, high, about) {
  const rough = (high - low) / about, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const found = [];
  for (let n = Math.ceil(low / step); n * step <= high + step * 1e-9; n += 1) found.push(n * step);
  return { found, places: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

function padded(values, share) {
  const low = Math.min(...values), high = Math.max(...values);
  const more = high > low ? (high - low) * share : Math.abs(high) * 0.1 || 0.5;
  return [low - more, high + more];
}

// A frame with axes; x and y turn values into pixels.
function frame(place, { xs, ys, height, turnX = false, turnY = false, xTicks = null, nameX, nameY, signs }) {
  const width = Math.max(260, place.clientWidth), left = 52, right = 16, top = 14, bottom = 40;
  const across = (value) => (value - xs[0]) / (xs[1] - xs[0]), up = (value) => (value - ys[0]) / (ys[1] - ys[0]);
  const x = (value) => left + (width - left - right) * (turnX ? 1 - across(value) : across(value));
  const y = (value) => top + (height - top - bottom) * (turnY ? up(value) : 1 - up(value));
  const node = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  const level = ticks(ys[0], ys[1], 5);
  for (const value of level.found) {
    node.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    node.append(svg("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end", text: (signs.y ? signed : bare)(value, level.places) }));
  }
  const along = xTicks ? { found: xTicks } : ticks(xs[0], xs[1], Math.max(2, Math.floor(width / 90)));
  let last = -1e9;
  for (const value of along.found) {
    if (Math.abs(x(value) - last) < 30) continue;
    last = x(value);
    node.append(svg("text", { x: x(value), y: height - bottom + 18, "text-anchor": "middle", text: xTicks ? value : (signs.x ? signed : bare)(value, along.places) }));
    node.append(svg("line", { class: "tick", x1: x(value), x2: x(value), y1: height - bottom, y2: height - bottom + 4 }));
  }
  node.append(svg("line", { class: "foot", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }));
  node.append(svg("text", { class: "name", x: width - right, y: height - 6, "text-anchor": "end", text: nameX }));
  if (nameY) node.append(svg("text", { class: "name", x: left, y: 10, text: nameY }));
  return { node, x, y, left, right: width - right, top, bottom: height - bottom };
}

function dot(at, x, y, words, radius = 4) {
  const kind = standing(at);
  const group = svg("g", { class: `dot ${kind}`, "data-at": at }, svg("title", { text: words }));
  group.append(svg("circle", { class: "hit", cx: x, cy: y, r: 11 }));
  if (kind === "out") group.append(svg("path", { d: `M${x - 4} ${y - 4}l8 8m0 -8l-8 8` }));
  else group.append(svg("circle", { cx: x, cy: y, r: kind === "pick" ? radius + 3 : radius }));
  return group;
}

function curve(place, title, name, axis) {
  const best = data.example, metric = metrics.get(name);
  const fixed = axis === "epoch" ? ` at strength ${best.strength}` : best.epoch === 0 ? "" : ` at ${label(best.epoch)}`;
  title.textContent = `${metric.title}, ${axis === "epoch" ? "epoch by epoch" : "strength by strength"}${fixed}`;
  const points = (axis === "epoch" ? epochs : strengths)
    .map((x) => ({ x, one: axis === "epoch" ? { epoch: x, strength: best.strength } : { epoch: best.epoch, strength: x } }))
    .map((point) => ({ ...point, value: valueAt(name, key(point.one)) }))
    .filter((point) => point.value);
  if (!points.length) {
    place.replaceChildren(make("p", { class: "note", text: "There is nothing to show." }));
    return;
  }
  const end = (point, side) => point.value[side] ?? point.value.mean;
  const base = baseLevel(name);
  const all = points.flatMap((point) => [end(point, "low"), end(point, "high")]).concat(base === null ? [] : [base]);
  const xs = points.map((point) => point.x);
  const f = frame(place, { xs: padded(xs, 0.04), ys: padded(all, 0.06), height: 260, xTicks: xs, nameX: axis, signs: { y: asChange(name) } });
  const places = placesFor(points.map((point) => point.value.mean), 2);
  f.node.setAttribute("aria-label", `${title.textContent}: ${points.map((point) => `${point.x}: ${spanWords(name, point.value, places)}`).join("; ")}`);
  const line = (side) => points.map((point) => `${f.x(point.x)} ${f.y(end(point, side))}`);
  f.node.append(svg("path", { class: "band", d: `M${line("high").join("L")}L${line("low").reverse().join("L")}Z` }));
  if (base !== null) {
    f.node.append(svg("line", { class: "base", x1: f.left, x2: f.right, y1: f.y(base), y2: f.y(base) }));
    f.node.append(svg("text", { class: "base", x: f.right, y: f.y(base) - 6, "text-anchor": "end", text: "base model" }));
  }
  f.node.append(svg("path", { class: "line", d: `M${line("mean").join("L")}` }));
  for (const point of points) {
    const words = [`${called(point.one)}: ${spanWords(name, point.value, places)}`, ...standingWords(key(point.one))].join(". ");
    f.node.append(dot(key(point.one), f.x(point.x), f.y(point.value.mean), words));
  }
  place.replaceChildren(f.node);
}

// Where the base model stands: at no change, or at the mean of its own scores.
function baseLevel(name) {
  if (asChange(name)) return 0;
  const found = data.controls.map((one) => one.scores[name]).filter((value) => value !== null && value !== undefined);
  return found.length ? found.reduce((a, b) => a + b, 0) / found.length : null;
}

function scatter(place, across, up) {
  const points = data.summary
    .map((one) => ({ one, at: key(one), x: valueAt(across, key(one)), y: valueAt(up, key(one)) }))
    .filter((point) => point.x && point.y);
  if (!points.length) {
    place.replaceChildren(make("p", { class: "note", text: "There is nothing to show." }));
    return;
  }
  const [right, high] = [metrics.get(across), metrics.get(up)];
  const xs = points.map((point) => point.x.mean), ys = points.map((point) => point.y.mean);
  const f = frame(place, {
    xs: padded(xs, 0.07), ys: padded(ys, 0.09), height: 340,
    turnX: right.better === "lower", turnY: high.better === "lower",
    nameX: `${right.title} →`, nameY: `↑ ${high.title}`, signs: { x: asChange(across), y: asChange(up) },
  });
  f.node.setAttribute("aria-label", `${right.title} against ${high.title}; the maps above have the numbers.`);
  for (const epoch of epochs) {
    const path = points.filter((point) => point.one.epoch === epoch).sort((a, b) => a.one.strength - b.one.strength);
    if (path.length > 1) f.node.append(svg("path", { class: "epoch", d: `M${path.map((point) => `${f.x(point.x.mean)} ${f.y(point.y.mean)}`).join("L")}` }));
  }
  const picked = points.find((point) => point.at === choice);
  if (picked) f.node.append(...whiskers(f, picked));
  const last = (point) => (standing(point.at) === "pick" ? 1 : 0);
  for (const point of points.sort((a, b) => last(a) - last(b))) {
    const words = [called(point.one), `${right.title} ${spanWords(across, point.x, 3)}`, `${high.title} ${spanWords(up, point.y, 3)}`, ...standingWords(point.at)].join(". ");
    const mark = dot(point.at, f.x(point.x.mean), f.y(point.y.mean), words);
    mark.addEventListener("click", () => openZoom(point.one.epoch, point.one.strength));
    f.node.append(mark);
  }
  place.replaceChildren(f.node);
}

// The choice's intervals, as far as the frame goes.
function whiskers(f, { x, y }) {
  const within = (value, low, high) => Math.min(high, Math.max(low, value));
  const across = (side) => within(f.x(x[side] ?? x.mean), f.left, f.right);
  const up = (side) => within(f.y(y[side] ?? y.mean), f.top, f.bottom);
  return [
    svg("line", { class: "whisker", x1: across("low"), x2: across("high"), y1: f.y(y.mean), y2: f.y(y.mean) }),
    svg("line", { class: "whisker", x1: f.x(x.mean), x2: f.x(x.mean), y1: up("low"), y2: up("high") }),
  ];
}
