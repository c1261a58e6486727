// What is chosen in the page, and what is drawn again for it.

const options = (place, some) => place.replaceChildren(...some.map(([value, text]) => make("option", { value, text })));
const named = (some) => some.map((metric) => [metric.name, metric.title]);
const measured = data.metrics.filter((metric) => isMeasured(metric.name));
const onAxis = (axis) => measured.filter((metric) => metric.axis === axis);

function grouped(place, prefer) {
  const groups = [["learned", "How much it learned"], ["quality", "Is quality held"], ["aside", "Told beside them"]];
  place.replaceChildren(...groups.filter(([axis]) => onAxis(axis).length).map(([axis, text]) =>
    make("optgroup", { label: text }, ...named(onAxis(axis)).map(([value, words]) => make("option", { value, text: words })))));
  if (measured.some((metric) => metric.name === prefer)) place.value = prefer;
}

function maps() {
  const [across, up] = [$("pick-learned").value, $("pick-quality").value];
  if (across) heat($("heat-learned"), across);
  if (up) heat($("heat-quality"), up);
  if (across && up) scatter($("scatter"), across, up);
  pointAt(choice);
}

function curves() {
  const name = $("pick-curve").value;
  if (!name) return;
  curve($("over-epoch"), $("over-epoch-title"), name, "epoch");
  curve($("over-strength"), $("over-strength-title"), name, "strength");
}

function mapSection() {
  const learned = onAxis("learned").length ? onAxis("learned") : onAxis("aside");
  const quality = onAxis("quality").length ? onAxis("quality") : onAxis("aside");
  options($("pick-learned"), named(learned));
  options($("pick-quality"), named(quality));
  if (learned.some((metric) => metric.name === verdict.learned_metric)) $("pick-learned").value = verdict.learned_metric;
  grouped($("pick-curve"), verdict.learned_metric);
  for (const id of ["pick-learned", "pick-quality"]) $(id).addEventListener("change", maps);
  $("pick-curve").addEventListener("change", curves);
  for (const input of document.querySelectorAll("[name=mode]")) {
    input.addEventListener("change", () => {
      state.mode = input.value;
      maps();
      curves();
    });
  }
  followPointer($("map"));
  maps();
  curves();
  let width = innerWidth;
  addEventListener("resize", () => {
    if (width === innerWidth) return;
    width = innerWidth;
    maps();
    curves();
  });
}

function pictureSection() {
  const shorter = (text) => (text.length > 90 ? `${text.slice(0, 88)}…` : text);
  options($("prompt"), data.prompts.map((prompt, i) => [i, shorter(prompt.text) + (prompt.kind === "plain" ? " (without the trigger)" : "")]));
  options($("seed"), data.seeds.map((seed, i) => [i, seed]));
  const scored = new Set(data.cells.flatMap((one) => Object.keys(one.scores)));
  options($("below"), [["", "nothing"], ...named(data.metrics.filter((metric) => scored.has(metric.name)))]);
  for (const id of ["prompt", "seed"]) {
    $(id).addEventListener("change", () => {
      state[id] = Number($(id).value);
      sheet();
    });
  }
  $("below").addEventListener("change", sheet);
  if (data.prompts.length && data.seeds.length) sheet();
}

// The table sorts by any column; what has no number stays last.
function sorting(table) {
  const heads = [...table.querySelectorAll("tr.heads th")];
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const rising = head.getAttribute("aria-sort") !== "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const value = (row) => {
      const text = row.children[column].dataset.value;
      return text === "" ? null : Number.isNaN(Number(text)) ? text : Number(text);
    };
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const x = value(a), y = value(b);
      if (x === null || y === null) return (x === null) - (y === null);
      return (x < y ? -1 : x > y ? 1 : 0) * (rising ? 1 : -1);
    });
    table.tBodies[0].append(...rows);
  }));
}

slides();
if ($("first")) first();
if ($("map")) mapSection();
pictureSection();
if ($("controls")) baseGallery($("controls"));
if ($("all")) sorting($("all"));
dialogKeys();
