// Putting jobs in line: a job file, a folder of them, a text or a run; perhaps with several values for settings.
import { labelled } from "../../labelled.js";
import { action, bytes, dialog, duration, fill, get, h, post, toast } from "../../core.js";

const DRAFT = "queue-add";

export async function add(changed) {
  const [runs, settings] = await Promise.all([get("/api/queue/runs"), get("/api/queue/settings")]);
  const kept = JSON.parse(localStorage.getItem(DRAFT) ?? "{}");
  const place = h("div.stack"), wrong = h("div.problem", { role: "alert", hidden: true });
  let source = kept.source ?? (runs.length ? "run" : "file"), latest = 0;

  const file = h("input", { type: "text", value: kept.file ?? "", placeholder: "/path/to/job.toml, or a folder of job files", spellcheck: false, autocomplete: "off", oninput: edited });
  const text = h("textarea.mono", { rows: 8, value: kept.text ?? "", placeholder: "The contents of a job file", spellcheck: false, oninput: edited });
  const run = h("select", { onchange: edited }, runs.map((name) => h("option", { value: name }, name)));
  if (runs.includes(kept.run)) run.value = kept.run;
  const choose = h("input.hidden", { type: "file", accept: ".toml,.txt", "aria-label": "A job file", onchange: () => choose.files[0] && open(choose.files[0]) });
  const ways = {
    run: ["Like a run", labelled("Run", run, "A new job with the run's settings.")],
    file: ["A file", labelled("Job file or folder", file, "Paths in it count from where it lies.")],
    text: ["Text", h("div.stack", {}, labelled("A job as TOML", text, "Write paths in full: a text lies nowhere."), h("div.row", {}, h("button", { type: "button", onclick: () => choose.click() }, "Choose a file"), choose))],
  };
  const tabs = h("div.tabs", { role: "group", "aria-label": "Where the job comes from" }, Object.entries(ways).map(([name, [words]]) => h("button", { type: "button", "data-way": name, onclick: () => { source = name; show(); edited(); } }, words)));
  const part = h("div");
  const matrix = vary(settings, kept.vary ?? [], edited);
  const analyse = h("input", { type: "checkbox", checked: kept.analyse ?? false, onchange: edited }), first = h("input", { type: "checkbox" });
  const priority = h("input", { type: "number", value: 0, min: -1000, max: 1000, "aria-label": "Priority" });
  const wanted = () => ({ source, given: { run: run.value, file: file.value, text: text.value }[source], vary: matrix.values(), analyse: analyse.checked, first: first.checked, priority: Math.round(Number(priority.value) || 0) });

  function edited() {
    latest += 1;
    localStorage.setItem(DRAFT, JSON.stringify({ source, file: file.value, text: text.value, run: run.value, vary: matrix.values(), analyse: analyse.checked }));
    fill(place);
  }
  function show() {
    for (const tab of tabs.children) tab.setAttribute("aria-pressed", tab.dataset.way === source);
    fill(part, ways[source][1]);
  }
  async function open(given) {
    if (given.size > 1_000_000) return problem({ message: `${given.name} is larger than 1 MB, which no job file is` });
    text.value = await given.text();
    source = "text"; show(); edited();
  }
  function problem(error) { wrong.hidden = false; fill(wrong, h("b", {}, error.where ? `${error.where}: ` : ""), error.message, error.hint && h("p.note", {}, `Try: ${error.hint}`)); }

  const look = action("See what it takes", async () => {
    wrong.hidden = true;
    const mine = (latest += 1);
    try { await price(await post("/api/queue/plan", wanted()), place, () => mine === latest && box.open); } catch (error) { problem(error); }
  });
  const put = action("Add to the queue", async () => {
    wrong.hidden = true;
    latest += 1;
    try {
      const { jobs } = await post("/api/queue/add", wanted());
      box.close();
      localStorage.removeItem(DRAFT);
      toast(jobs.length === 1 ? "1 job waits" : `${jobs.length} jobs wait`);
      await changed();
    } catch (error) { problem(error); }
  }, { kind: "primary" });

  const box = dialog("Add jobs", tabs, part, matrix.element, h("div.row.wishes", {}, h("label.check", {}, analyse, "Analyse each run when it is trained"), h("label.check", {}, first, "Before those that wait"), h("label.row.priority", {}, "Priority", priority)), wrong, h("div.row", {}, put, look), place);
  box.addEventListener("drop", (event) => { const given = event.dataTransfer.files[0]; if (given) { event.preventDefault(); open(given); } });
  box.addEventListener("dragover", (event) => event.preventDefault());
  show();
}

/** Settings that are to have several values: a row each. */
function vary(settings, kept, changed) {
  const known = new Map(settings.map((spec) => [spec.path, spec]));
  const id = "matrix-settings";
  const list = h("datalist", { id }, [...known.values()].map((spec) => h("option", { value: spec.path }, spec.label)));
  const rows = h("div.stack");
  const count = h("p.note", { role: "status" });
  const add = (given = {}) => {
    const path = h("input", { type: "text", value: given.path ?? "", placeholder: "adapter.rank", "aria-label": "Setting", spellcheck: false, autocomplete: "off", oninput: () => { tell(); edited(); } });
    path.setAttribute("list", id);
    const values = h("input", { type: "text", value: given.values ?? "", placeholder: "8, 16, 32", "aria-label": "Its values, split by commas", spellcheck: false, autocomplete: "off", oninput: () => edited() });
    const help = h("p.note");
    const tell = () => { const spec = known.get(path.value.trim()); help.textContent = spec ? [`${spec.label}.`, spec.help, spec.choices.length ? `One of ${spec.choices.join(", ")}.` : ""].join(" ") : path.value ? "There is no such setting." : ""; };
    const row = h("div.vary", {}, path, values, h("button.plain", { type: "button", "aria-label": "Take this setting out", onclick: () => { row.remove(); edited(); } }, "✕"), help);
    row.read = () => ({ path: path.value.trim(), values: values.value });
    tell();
    rows.append(row);
    return path;
  };
  const read = () => [...rows.children].map((row) => row.read()).filter((one) => one.path || one.values.trim());
  function edited() {
    const sizes = read().map((one) => one.values.split(",").filter((word) => word.trim()).length);
    count.textContent = sizes.length ? `${sizes.join(" × ")} = ${sizes.reduce((a, b) => a * b, 1)} runs` : "";
    changed();
  }
  kept.forEach(add);
  const element = h("details.card.matrix", { open: kept.length > 0 }, h("summary", {}, "Try several values"), h("p.note", {}, "Each mix of the values is a run of its own, named after what differs."), rows, h("div.row", {}, h("button", { type: "button", onclick: () => add().focus() }, "Add a setting"), count), list);
  return { element, values: read };
}

/** The names at once; then what each takes, as a process works it out. */
async function price({ count, jobs, pricing }, place, wanted) {
  const rows = jobs.map((job) => h("tr", {}, h("th.mono", { scope: "row" }, job.name), h("td.figures", {}, "…"), h("td.figures"), h("td.figures"), h("td.figures")));
  const words = h("p", { role: "status" });
  fill(place, h("h3", {}, count === 1 ? "One job" : `${count} jobs`), words, h("div.scroll", { tabindex: "0", role: "group", "aria-label": "Jobs" }, h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Job"), ["Steps", "Time", "Disk", "Memory"].map((head) => h("th.figures", { scope: "col" }, head)))), h("tbody", {}, rows))), count > jobs.length && h("p.note", {}, `and ${count - jobs.length} more`));
  const began = Date.now();
  for (let done = 0; wanted(); await new Promise((next) => setTimeout(next, 700))) {
    const told = await get("/api/queue/priced", { number: pricing });
    if (!wanted() || told.gone) return;
    for (; done < told.found.length; done += 1) {
      const found = told.found[done], cells = rows[done]?.children;
      if (!cells) continue;
      if (found.problem) fill(cells[1], h("span.wrong", {}, found.problem)).colSpan = 4;
      else [found.steps || "–", found.seconds ? duration(found.seconds) : "–", found.disk ? bytes(found.disk) : "–", found.memory ? bytes(found.memory) : "–"].forEach((value, i) => { cells[i + 1].textContent = typeof value === "number" ? value.toLocaleString("en") : value; });
    }
    const sum = (name) => told.found.reduce((all, one) => all + one[name], 0);
    const refused = told.found.filter((one) => one.problem).length;
    const pace = done && ((Date.now() - began) / done / 1000) * (count - done);
    words.textContent = told.ended && !told.problem ? `${refused ? `${refused} would be refused. ` : ""}${count > 1 ? "Together about " : "About "}${duration(sum("seconds"))}, ${bytes(sum("disk"))} of disk.` : told.problem ? `What it takes could not be worked out: ${told.problem}` : `Working out what ${count === 1 ? "it takes" : `they take: ${done} of ${count}`}${pace > 2 ? `, ${duration(pace)} left` : ""}…`;
    if (told.ended) return;
  }
}
