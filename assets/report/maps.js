// Heat maps: a table whose cells are coloured buttons; arrow keys move between them.

function heat(place, name) {
  const metric = metrics.get(name);
  const means = data.summary.map((one) => valueAt(name, key(one))).filter(Boolean).map((value) => value.mean);
  if (!means.length) {
    place.replaceChildren(make("p", { class: "note", text: "There is nothing to show." }));
    return;
  }
  const range = { low: Math.min(...means), high: Math.max(...means), places: placesFor(means) };
  const corner = make("td", { class: "corner" }, make("span", { text: "epoch" }), make("span", { text: "strength" }));
  const head = make("tr", {}, corner, ...strengths.map((one) => make("th", { scope: "col", text: one })));
  const rows = epochs.map((epoch) =>
    make("tr", {}, make("th", { scope: "row", text: label(epoch).replace(/^epoch /, "") }),
      ...strengths.map((strength) => heatCell(name, { epoch, strength }, range))));
  const words = `${asChange(name) ? "Change from the base model" : "As measured"}; ${wayWords(metric)}`;
  const table = make("table", { class: "heat" }, make("caption", { text: words }), make("thead", {}, head), make("tbody", {}, ...rows));
  table.style.setProperty("--columns", strengths.length);
  place.replaceChildren(make("div", { class: "scroll" }, table), scale(name, range));
  rove(table);
}

function heatCell(name, one, range) {
  const at = key(one), value = valueAt(name, at), metric = metrics.get(name);
  if (!value) return make("td", { class: "none", text: summary.has(at) ? "–" : "" });
  let share = range.high > range.low ? (value.mean - range.low) / (range.high - range.low) : 0.5;
  if (metric.better === "lower") share = 1 - share;
  const shade = colour(share);
  const words = [`${called(one)}: ${spanWords(name, value, range.places + 1)}`, ...standingWords(at)].join(". ");
  const button = make("button", { type: "button", tabindex: -1, "data-at": at, "aria-label": words, title: words },
    make("span", { text: written(name, value.mean, range.places) }));
  button.style.setProperty("--back", shade.back);
  button.style.setProperty("--front", shade.ink);
  button.addEventListener("click", () => openZoom(one.epoch, one.strength));
  return make("td", { class: standing(at) }, button);
}

function scale(name, range) {
  const turned = metrics.get(name).better === "lower";
  const ends = [range.low, range.high].map((value) => written(name, value, range.places));
  if (turned) ends.reverse();
  const bar = make("span", { class: "ramp", "aria-hidden": "true" });
  bar.style.backgroundImage = `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map((share) => colour(share).back).join(", ")})`;
  const words = metrics.get(name).better === "neither" ? "brighter is higher" : "brighter is better";
  return make("p", { class: "scale" }, make("span", { text: ends[0] }), bar, make("span", { text: ends[1] }), make("span", { class: "soft", text: words }));
}

function rove(table) {
  const grid = [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.querySelector("button")));
  const all = grid.flat().filter(Boolean);
  const first = all.find((button) => button.dataset.at === choice) || all[0];
  if (first) first.tabIndex = 0;
  table.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const from = event.target.closest("button");
    if (!step || !from) return;
    event.preventDefault();
    let row = grid.findIndex((line) => line.includes(from)), column = grid[row].indexOf(from);
    do {
      row += step[0];
      column += step[1];
      if (!grid[row] || column < 0 || column >= grid[row].length) return;
    } while (!grid[row][column]);
    for (const button of all) button.tabIndex = -1;
    grid[row][column].tabIndex = 0;
    grid[row][column].focus();
  });
}

// What is pointed at is read out, and shown in every map at once.
function pointAt(at) {
  for (const node of document.querySelectorAll(".at")) node.classList.remove("at");
  if (at) for (const node of document.querySelectorAll(`[data-at="${at}"]`)) node.classList.add("at");
  const one = at && summary.get(at);
  if (!one) {
    $("readout").textContent = "Point at a setting to read it.";
    return;
  }
  const parts = [called(one)];
  for (const name of [$("pick-learned").value, $("pick-quality").value]) {
    const value = name && valueAt(name, at);
    if (value) parts.push(`${metrics.get(name).title} ${spanWords(name, value, 3)}`);
  }
  $("readout").textContent = [...parts, ...standingWords(at)].join("  ·  ");
}

function followPointer(place) {
  const read = (event) => {
    const node = event.target.closest("[data-at]");
    if (node) pointAt(node.dataset.at);
  };
  place.addEventListener("pointerover", read);
  place.addEventListener("focusin", read);
  place.addEventListener("pointerleave", () => pointAt(choice));
}
