// All runs: found by words, status and order; several laid over one another.
import { action, ago, asked, badge, empty, fill, get, h, number, poll, post, remember, thumb, toast, tell, WORDS } from "../core.js";
import { overlay } from "./overlay.js";

const SHOWN = 60, MOST = 6;
const ORDERS = { newest: ["Newest first", (a, b) => b.made - a.made], active: ["Latest activity", (a, b) => (b.latest || b.made) - (a.latest || a.made)], name: ["Name", (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true })], loss: ["Lowest loss", (a, b) => (a.loss ?? Infinity) - (b.loss ?? Infinity)], steps: ["Most steps", (a, b) => b.step - a.step] };

export async function draw(page, actions) {
  const known = new Map(), lines = new Map();
  let seen = "", shown = SHOWN, folder = "", drawn = false;
  const words = h("input", { type: "search", placeholder: "Search by name or verdict", "aria-label": "Search runs", value: asked("search") ?? "", oninput: () => change({ search: words.value.trim() }) });
  const status = h("select", { "aria-label": "Status", onchange: () => change({ status: status.value }) });
  const order = h("select", { "aria-label": "Order", onchange: () => change({ order: order.value === "newest" ? "" : order.value }) }, Object.entries(ORDERS).map(([key, [label]]) => h("option", { value: key, selected: key === (asked("order") ?? "newest") }, label)));
  const count = h("p.note", { role: "status" }), body = h("tbody"), more = h("button", { type: "button", onclick: () => { shown += SHOWN; show(); } }, "Show more");
  const tools = h("div.row.tools", {}, h("div.grow", {}, words), status, order);
  const table = h("table.runs", {}, h("thead", {}, h("tr", {}, ["Compare", "Run", "Status", "Steps", "Loss", "What came of it", "When"].map((label, n) => h(n === 3 || n === 4 ? "th.figures" : "th", { scope: "col" }, n ? label : h("span.hidden", {}, label))))), body);
  const over = overlay(() => { pick(); }), listed = h("section.card.stack", { "aria-label": "All runs" }, tools, count, table, more);
  const picked = new Set((asked("over") ?? "").split("|").filter(Boolean));
  actions.append(h("a.button.primary", { href: "/train" }, "Train a LoRA"));
  putBack();

  function change(params) { remember(params); shown = SHOWN; show(); }
  function pick(name, on) {
    if (name) on ? picked.add(name) : picked.delete(name); else picked.clear();
    remember({ over: [...picked].join("|") });
    for (const line of lines.values()) line.check(picked);
    over.show([...picked]);
  }

  function show() {
    const search = words.value.trim().toLowerCase(), wanted = asked("status") ?? "";
    const found = [...known.values()].filter((run) => (!wanted || run.status === wanted) && (!search || `${run.name} ${run.analysis?.headline ?? ""} ${run.problem}`.toLowerCase().includes(search)));
    found.sort(ORDERS[asked("order")]?.[1] ?? ORDERS.newest[1]);
    const now = found.slice(0, shown), rows = now.map((run) => { if (!lines.has(run.name)) lines.set(run.name, line(run, pick)); const each = lines.get(run.name); each.set(run); each.check(picked); return each.element; });
    place(body, rows);
    more.hidden = found.length <= shown;
    const told = `${found.length === known.size ? "" : `${found.length} of `}${known.size} ${known.size === 1 ? "run" : "runs"} in ${folder}`;
    if (count.textContent !== told) count.textContent = told;
    table.hidden = !found.length;
    const counts = Map.groupBy ? Map.groupBy(known.values(), (run) => run.status) : new Map();
    if (document.activeElement !== status) fill(status, h("option", { value: "", selected: !wanted }, "Any status"), Object.entries(WORDS).filter(([key]) => counts.has(key) || key === wanted).map(([key, label]) => h("option", { value: key, selected: key === wanted }, `${label} (${counts.get(key)?.length ?? 0})`)));
  }

  poll(async () => {
    const told = await get("/api/runs/list", { seen });
    const first = !drawn;
    seen = told.seen; folder = told.folder;
    for (const run of told.rows) known.set(run.name, run);
    const names = new Set(told.names), left = [...known.keys()].filter((name) => !names.has(name));
    for (const name of left) { known.delete(name); lines.delete(name); picked.delete(name); }
    if (!known.size) { if (first || left.length) fill(page, none()); drawn = true; return 4000; }
    if (!listed.isConnected) fill(page, over.element, listed);
    if (first || told.rows.length || left.length) show();
    if (first) over.show([...picked].filter((name) => known.has(name)));
    drawn = true;
    return [...known.values()].some((run) => run.status === "running") ? 2000 : 5000;
  });
  await new Promise((done) => { const wait = setInterval(() => { if (drawn) { clearInterval(wait); done(); } }, 20); setTimeout(() => { clearInterval(wait); done(); }, 4000); });
}

const none = () => empty("No runs yet", "A run is one training: its curves, samples, LoRA files and what an analysis made of them stay here, and nothing of it depends on this page being open.",
  h("div.row", {}, action("Try the demo", async () => { const { work } = await post("/api/train/demo"); location.href = `/runs?work=${encodeURIComponent(work)}`; }), h("a.button.primary", { href: "/train" }, "Train a LoRA")));

/** Put the rows into the table in this order, moving only those that stand elsewhere. */
function place(body, rows) {
  const wanted = new Set(rows);
  for (const row of [...body.children]) if (!wanted.has(row)) row.remove();
  rows.forEach((row, n) => { if (body.children[n] !== row) body.insertBefore(row, body.children[n] ?? null); });
}

function line(run, pick) {
  const box = h("input", { type: "checkbox", "aria-label": `Compare the curves of ${run.name}`, onchange: () => pick(run.name, box.checked) });
  const image = h("img", { alt: "", loading: "lazy", width: 52, height: 52 }), best = h("span.best", { hidden: true }, "best");
  const state = h("td.state"), steps = h("td.figures"), loss = h("td.figures"), came = h("p.came"), when = h("td.note.when");
  const element = h("tr", {}, h("td.box", {}, box), h("th.name", { scope: "row" }, h("a", { href: `/runs?work=${encodeURIComponent(run.name)}` }, h("span.look", {}, image, best), h("bdi", {}, run.name))), state, steps, loss, h("td", {}, came), when);
  let key = "";
  return {
    element,
    check(picked) { box.checked = picked.has(run.name); box.disabled = !box.checked && picked.size >= MOST; },
    set(now) {
      const is = JSON.stringify(now);
      const time = ago(now.latest || now.made);
      if (when.textContent !== time) when.textContent = time;
      if (is === key) return;
      key = is;
      const src = now.analysis?.best ? `/api/runs/best?work=${encodeURIComponent(now.analysis.name)}` : now.sample ? `${thumb(`${now.path}/${now.sample}`, 160)}` : "";
      if (image.getAttribute("src") !== src) src ? image.setAttribute("src", src) : image.removeAttribute("src");
      best.hidden = !now.analysis?.best;
      fill(state, badge(now.status));
      steps.textContent = now.steps ? `${now.step} / ${now.steps}` : "–";
      loss.textContent = number(now.loss, 3);
      const words = now.analysis?.headline || (now.status === "failed" ? now.problem : now.status === "running" && now.phase ? now.phase : "");
      came.textContent = words || "–"; came.title = words; came.parentElement.classList.toggle("none", !words);
      loss.classList.toggle("none", now.loss === null);
    },
  };
}

/** After a run went to the trash: say so, and offer it back. */
function putBack() {
  const kept = sessionStorage.getItem("runs.trash");
  if (!kept) return;
  sessionStorage.removeItem("runs.trash");
  const { name, was } = JSON.parse(kept);
  const told = toast(`${was} is in the trash.`, "kept");
  told.append(h("button.plain", { type: "button", onclick: () => post("/api/runs/restore", { name }).then(({ work }) => { told.remove(); toast(`${work} is back`); }, tell) }, "Put back"));
}
