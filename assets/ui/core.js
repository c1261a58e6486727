// What all pages share: making elements, asking the server, waiting, telling, and words for numbers.

/** An element: h("button.primary", {onclick}, "Save"). Text is text: nothing in it is taken for HTML. */
export function h(what, props = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const svg = tag === "svg" || SVG.has(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag || "div");
  if (classes.length) made.setAttribute("class", classes.join(" "));
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style" || svg || name.includes("-") || !(name in made)) made.setAttribute(name, value === true ? "" : value);
    else made[name] = value;
  }
  add(made, children);
  return made;
}
const SVG = new Set(["path", "circle", "line", "rect", "g", "polyline", "text"]);
function add(to, children) {
  for (const child of children.flat(Infinity)) if (child !== null && child !== undefined && child !== false) to.append(child);
}

/** Put other children into an element. */
export function fill(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

/** What the server said no to: a problem, a place and a cure. */
export class Problem extends Error {
  constructor(told) { super(told.problem); this.where = told.where ?? ""; this.hint = told.hint ?? ""; this.all = told.all ?? []; }
}

/** Ask the server: get(url) or post(url, values). Answers are JSON. */
export const get = (url, params) => ask(params ? `${url}?${new URLSearchParams(params)}` : url);
export const post = (url, values = {}) => ask(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(values) });
export async function ask(url, options = {}) {
  let answer;
  try { answer = await fetch(url, { cache: "no-store", ...options }); }
  catch { throw new Problem({ problem: "Sweetspot does not answer; is it still running?", hint: "start it again, and this page goes on" }); }
  const told = await answer.json().catch(() => ({ problem: `the server answered ${answer.status}` }));
  if (!answer.ok) throw new Problem(told);
  return told;
}

/** Ask again and again while the page is seen. `each` may return another pause in ms; the next begins when the last has ended. */
export function poll(each, pause = 1000) {
  let timer = 0, going = true, busy = false;
  const turn = async () => {
    clearTimeout(timer);
    if (!going || busy) return;
    let next = pause;
    if (!document.hidden) {
      busy = true;
      try { next = (await each()) ?? pause; }
      catch (error) { console.debug(error); next = Math.max(pause, 2000); }
      busy = false;
    } else next = 60000;
    if (going) timer = setTimeout(turn, next);
  };
  const seen = () => { if (!document.hidden) turn(); };
  document.addEventListener("visibilitychange", seen);
  turn();
  const stop = () => { going = false; clearTimeout(timer); document.removeEventListener("visibilitychange", seen); };
  stop.now = turn;
  return stop;
}

/** A message that goes away by itself; problems stay until they are closed. */
export function toast(words, kind = "") {
  const place = document.getElementById("toasts");
  const made = h(`div.toast${kind ? "." + kind : ""}`, kind === "bad" ? { role: "alert" } : {}, h("span", {}, words),
    h("button.plain", { type: "button", "aria-label": "Close", onclick: () => made.remove() }, "✕"));
  place.append(made);
  if (kind !== "bad") setTimeout(() => made.remove(), 5000);
  return made;
}
export const tell = (error) => { toast([error.message, error.hint ? ` Try: ${error.hint}.` : ""].join(""), "bad"); console.debug(error); };

/** A button that asks the server: dimmed while it works, problems told. */
export function action(words, work, props = {}) {
  const { kind = "", ...rest } = props;
  const button = h(`button${kind ? "." + kind : ""}`, { type: "button", ...rest, onclick: async () => {
    button.disabled = true; button.setAttribute("aria-busy", "true");
    try { await work(button); } catch (error) { tell(error); }
    button.disabled = false; button.removeAttribute("aria-busy");
  } }, words);
  return button;
}

/** Ask before something that cannot be taken back; resolves to true or false. */
export function confirm(question, yes = "Yes", no = "Cancel") {
  return new Promise((done) => {
    const box = h("dialog.ask", { "aria-label": question }, h("p", {}, question), h("form", { method: "dialog" },
      h("button", { value: "" }, no), h("button.primary", { value: "yes" }, yes)));
    box.addEventListener("close", () => { done(box.returnValue === "yes"); box.remove(); });
    document.body.append(box);
    box.showModal();
  });
}

/** A dialog with a heading and a close button; Escape closes it and the focus goes back. */
export function dialog(title, ...children) {
  const box = h("dialog.sheet", { "aria-label": title }, h("header", {}, h("h2", {}, title),
    h("button.plain", { type: "button", "aria-label": "Close", onclick: () => box.close() }, "✕")), h("div.inside", {}, children));
  box.addEventListener("close", () => box.remove());
  box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
  document.body.append(box);
  box.showModal();
  return box;
}

/** What to show where there is nothing yet: what it is for, and what to do. */
export const empty = (title, words, ...children) => h("div.empty", {}, h("h2", {}, title), h("p", {}, words), children);

export const picture = (path) => `/file?path=${encodeURIComponent(path)}`;
export const thumb = (path, side = 320) => `/thumb?path=${encodeURIComponent(path)}&side=${side}`;

export function duration(seconds) {
  if (seconds === null || seconds === undefined || !isFinite(seconds)) return "–";
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  if (s < 5400) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
}
export function bytes(count) {
  if (count >= 1e9) return `${(count / 1e9).toFixed(count < 1e10 ? 1 : 0)} GB`;
  if (count >= 1e6) return `${(count / 1e6).toFixed(count < 1e7 ? 1 : 0)} MB`;
  return `${Math.round(count / 1e3)} kB`;
}
export function number(value, digits = 4) {
  if (value === null || value === undefined || !isFinite(value)) return "–";
  if (value !== 0 && Math.abs(value) < 1e-3) return Number(value).toExponential(2).replace(/\.?0+e/, "e");
  return String(Number(Number(value).toPrecision(digits)));
}
export function ago(time) {
  const s = Date.now() / 1000 - time;
  if (!time) return "";
  if (s < 60) return "just now";
  if (s < 3600) return `${Math.round(s / 60)} min ago`;
  if (s < 86400) return `${Math.round(s / 3600)} h ago`;
  return new Date(time * 1000).toLocaleDateString();
}
export const PHASES = {
  scan: "Looking at the pictures", load: "Reading the base model", pictures: "Encoding pictures", captions: "Encoding captions",
  "class pictures": "Rendering class pictures", proof: "Proving the LoRA file", controls: "Rendering the base model's pictures",
  cells: "Rendering", scores: "Scoring", judgement: "Asking the model itself", report: "Writing the report",
};
export const WORDS = { waiting: "Waiting", running: "Running", completed: "Completed", stopped: "Stopped", failed: "Failed", died: "Ended without a word" };

/** How far work has come: a share from 0 to 1 or null, and words. */
export function progress(work) {
  if (work.status !== "running") return { share: work.status === "completed" ? 1 : work.steps ? work.step / work.steps : null, words: WORDS[work.status] ?? work.status };
  if (work.phase) return { share: work.total ? work.done / work.total : null, words: `${PHASES[work.phase] ?? work.phase}${work.total ? ` ${work.done} of ${work.total}` : ""}` };
  if (work.steps) return { share: work.step / work.steps, words: `Step ${work.step} of ${work.steps}${work.left ? `, ${duration(work.left)} left` : ""}` };
  return { share: null, words: "Starting" };
}
export function bar(share, label) {
  const known = share !== null && share !== undefined;
  const percent = known ? Math.round(100 * share) : null;
  return h(`div.bar${known ? "" : ".open"}`, { role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": percent }, h("i", { style: `width:${known ? 100 * share : 30}%` }));
}
export const badge = (status) => h(`span.badge.${status}`, {}, WORDS[status] ?? status);
/** A page's own address with other parameters, without loading it again. */
export function remember(params) {
  const url = new URL(location);
  for (const [name, value] of Object.entries(params)) value ? url.searchParams.set(name, value) : url.searchParams.delete(name);
  history.replaceState(null, "", url);
}
export const asked = (name) => new URLSearchParams(location.search).get(name);
