// Pictures: the example on top, the contact sheet, the base model's own, and the dialog.

const image = (one, words) => make("img", { src: source(one), alt: words, loading: "lazy", decoding: "async" });
const cellAt = (epoch, strength, prompt = state.prompt, seed = state.seed) => cells.get(`${epoch}|${strength}|${prompt}|${seed}`);
const shotWords = (one) => `${promptText(one.prompt)}, seed ${data.seeds[one.seed]}`;

function lay(id, one) {
  const place = $(id), base = baseOf(one), both = source(base);
  place.querySelector(".over").src = source(one);
  place.querySelector(".under").src = both || source(one);
  place.classList.toggle("alone", !both);
}

function slides() {
  for (const slide of document.querySelectorAll("input.slide")) {
    const place = $(slide.dataset.for);
    const turn = () => {
      place.style.setProperty("--cut", `${slide.value}%`);
      slide.setAttribute("aria-valuetext", `${slide.value}% base model`);
    };
    slide.addEventListener("input", turn);
    turn();
  }
}

// The picture whose likeness lies in the middle: neither the best of the setting nor the worst.
function typical(shots) {
  const name = verdict.learned_metric, scored = shots.filter((one) => typeof one.scores[name] === "number");
  if (!scored.length) return shots[0];
  return [...scored].sort((a, b) => a.scores[name] - b.scores[name])[Math.floor(scored.length / 2)];
}

// The example on top.
function first() {
  const shots = data.controls.map((one) => cellAt(data.example.epoch, data.example.strength, one.prompt, one.seed)).filter(source);
  if (!shots.length) {
    document.querySelector(".example").hidden = true;
    return;
  }
  const show = (one) => {
    lay("first", one);
    $("first-words").textContent = shotWords(one);
    for (const button of $("strip").children) button.setAttribute("aria-pressed", button.dataset.shot === shotKey(one));
  };
  if (shots.length > 1) {
    for (const one of shots.slice(0, 12)) {
      const button = make("button", { type: "button", "data-shot": shotKey(one), "aria-label": shotWords(one), title: shotWords(one) }, image(one, ""));
      button.addEventListener("click", () => show(one));
      $("strip").append(button);
    }
  }
  show(typical(shots));
}

// The contact sheet.
function sheet() {
  const control = controls.get(`${state.prompt}|${state.seed}`), below = $("below").value;
  const heads = ["base model", ...strengths].map((text) => make("th", { scope: "col", text }));
  const rows = epochs.map((epoch, number) => {
    const name = make("th", { scope: "row", text: label(epoch) });
    const base = number === 0 ? [make("td", { class: "base", rowspan: epochs.length }, ...baseShot(control, below))] : [];
    return make("tr", {}, name, ...base, ...strengths.map((strength) => shot({ epoch, strength }, below)));
  });
  const words = `${promptText(state.prompt)}, seed ${data.seeds[state.seed]}`;
  const place = $("sheet"), moved = place.scrollLeft, first = !place.firstChild;
  place.replaceChildren(make("table", { class: "sheet" }, make("caption", { class: "hidden", text: words }),
    make("thead", {}, make("tr", {}, make("td"), ...heads)), make("tbody", {}, ...rows)));
  const picked = place.querySelector("td.pick");
  place.scrollLeft = first && picked ? picked.offsetLeft - place.clientWidth / 2 : moved;
}

function baseShot(control, below) {
  if (!source(control)) return [make("p", { class: "gap", text: control ? control.reason || control.status : "missing" })];
  return [image(control, "The base model's own picture"), ...score(control, below)];
}

function shot(one, below) {
  const cell = cellAt(one.epoch, one.strength), at = key(one);
  if (!cell) return make("td", { class: "none" });
  const copy = copies.get(`${at}|${shotKey(cell)}`);
  const words = [called(one), ...standingWords(at), ...(copy ? [`a copy of ${copy.training}`] : [])].join(". ");
  const inside = source(cell) ? image(cell, "") : make("span", { class: "gap", text: cell.reason || cell.status });
  const button = make("button", { class: "shot", type: "button", "data-at": at, "aria-label": source(cell) ? words : `${words}. ${cell.reason || cell.status}`, title: words }, inside);
  if (copy) button.append(make("span", { class: "copy", text: "copy" }));
  button.addEventListener("click", () => openZoom(one.epoch, one.strength));
  return make("td", { class: standing(at) }, button, ...score(cell, below));
}

function score(one, name) {
  const value = name ? one.scores[name] : null;
  return name ? [make("small", { text: value === null || value === undefined ? "–" : bare(value, Math.abs(value) >= 10 ? 1 : 3) })] : [];
}

// The base model's own, a group for each prompt.
function baseGallery(place) {
  const groups = data.prompts.map((prompt, index) => {
    const some = data.controls.filter((one) => one.prompt === index);
    const figures = some.map((one) => make("figure", {},
      source(one) ? image(one, shotWords(one)) : make("span", { class: "gap", text: one.reason || one.status }),
      make("figcaption", { text: `seed ${data.seeds[one.seed]}` })));
    const words = prompt.kind === "plain" ? [make("span", { class: "soft", text: " without the trigger" })] : [];
    return make("div", { class: "shots" }, make("h3", { text: prompt.text }, ...words), make("div", {}, ...figures));
  });
  if (data.controls.length <= 24) {
    place.replaceChildren(...groups);
    return;
  }
  place.replaceChildren(make("details", {}, make("summary", { text: `Show all ${data.controls.length}` }), ...groups));
}

// The dialog.
const dialog = $("zoom"), looked = {};

function openZoom(epoch, strength) {
  Object.assign(looked, { epoch, strength });
  const cell = cellAt(epoch, strength);
  if (!cell) return;
  const at = key(looked), control = baseOf(cell), copy = copies.get(`${at}|${shotKey(cell)}`);
  $("zoom-title").textContent = called(looked);
  $("zoom-shot").textContent = shotWords(cell);
  $("zoom-frame").hidden = !source(cell);
  $("zoom-gap").hidden = Boolean(source(cell));
  $("zoom-gap").textContent = `There is no picture: ${cell.reason || cell.status}`;
  if (source(cell)) lay("zoom-frame", cell);
  const words = standingWords(at);
  if (copy) words.push(`a copy of the training picture ${copy.training} (${bare(copy.similarity, 2)} alike)`);
  $("zoom-standing").textContent = words.length ? `${words.join(". ")}.`.replace(/^./, (letter) => letter.toUpperCase()) : "";
  $("zoom-standing").className = standing(at);
  const has = (one, name) => one && one.scores[name] !== null && one.scores[name] !== undefined;
  $("zoom-scores").replaceChildren(...data.metrics.filter((m) => m.name in cell.scores).map((m) => {
    const text = (one) => (has(one, m.name) ? bare(one.scores[m.name], Math.abs(one.scores[m.name]) >= 10 ? 1 : 3) : "–");
    const why = cell.unscored[m.name];
    return make("tr", { title: why || null }, make("th", { scope: "row", text: m.title }), make("td", { text: text(cell) }), make("td", { text: text(control) }));
  }));
  if (!dialog.open) {
    dialog.showModal();
    $("zoom-title").focus();
  }
}

function step(way) {
  if (way === "shot") {
    const shots = [...controls.keys()], next = shots[(shots.indexOf(`${state.prompt}|${state.seed}`) + 1) % shots.length];
    [state.prompt, state.seed] = next.split("|").map(Number);
    $("prompt").value = state.prompt;
    $("seed").value = state.seed;
    sheet();
    openZoom(looked.epoch, looked.strength);
    return;
  }
  const along = way === "left" || way === "right", all = along ? strengths : epochs;
  const by = way === "right" || way === "down" ? 1 : -1;
  let index = all.indexOf(along ? looked.strength : looked.epoch) + by;
  const place = () => (along ? [looked.epoch, all[index]] : [all[index], looked.strength]);
  while (all[index] !== undefined && !cellAt(...place())) index += by;
  if (all[index] !== undefined) openZoom(...place());
}

function dialogKeys() {
  $("zoom-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    const way = event.key.startsWith("Arrow") && event.key.slice(5).toLowerCase();
    if (!way || event.target.type === "range") return;
    event.preventDefault();
    step(way);
  });
  for (const button of dialog.querySelectorAll("[data-step]")) button.addEventListener("click", () => step(button.dataset.step));
  dialog.querySelector(".slide").addEventListener("pointerup", () => $("zoom-title").focus());
}
