// One run: how it goes, its samples, curves, files and words; the same while it trains and from disk.
import { ago, badge, bar, duration, empty, fill, get, h, number, poll, progress, tell } from "../core.js";
import { curves } from "./curves.js";
import { doing } from "./doing.js";
import { files, words } from "./papers.js";
import { samples } from "./samples.js";
import { Tale } from "./tale.js";

export async function draw(page, actions, name) {
  if (/^sweeps\/|\/analysis\//.test(name)) return location.replace(`/analysis?work=${encodeURIComponent(name)}`);
  let view = null, tale = null, about = {};
  const open = async () => {
    const story = await get("/api/runs/story", { work: name });
    if (story.gone) return gone(page, actions, name, view);
    tale = new Tale(story);
    about = story.about;
    const head = story.head;
    if (!view) { fill(page); view = views(page, actions, head, about, () => going.now()); }
    view.all(tale, head, about);
    return head;
  };
  const follow = async () => {
    const told = await get("/api/runs/events", { work: name, position: tale.position });
    if (told.gone) { tale = null; return gone(page, actions, name, view); }
    if (told.again) return open();
    tale.position = told.position;
    view.some(tale, told.head, about, new Set(told.events.map((event) => tale.take(event))));
    return told.head;
  };
  title(name, "");
  const first = await open().catch(tell);
  const going = poll(async () => {
    const head = await (tale ? follow() : open());
    if (!head) { view = null; return 5000; }
    return head.status === "running" ? 1000 : 4000;
  }, first?.status === "running" ? 1000 : 4000);
}

function gone(page, actions, name, view) {
  fill(actions);
  if (!view && page.querySelector(".empty")) return null;
  fill(page, empty("This run is not there", `There is no run called ${name} in the runs folder. It may have been moved, renamed or put into the trash.`, h("a.button.primary", { href: "/runs" }, "All runs")));
  return null;
}

function title(name, lede) {
  document.title = `${name} · Sweetspot`;
  fill(document.querySelector("h1"), h("bdi", {}, name));
  fill(document.querySelector(".lede"), h("a.back", { href: "/runs" }, "All runs"), lede && " · ", lede && h("bdi", {}, lede));
}

function views(page, actions, head, about, again) {
  title(head.name, sentence(about, null));
  const notice = h("div.stack.notices"), top = h("section.card.stack", { "aria-label": "Progress" }), facts = h("dl.facts");
  page.append(notice, top, facts);
  const parts = { top: progressOf(top), notice: notices(notice), facts: figures(facts), doing: doing(actions, again), samples: samples(page), curves: curves(page), files: files(page), words: words(page) };
  const some = (tale, now, what, topics) => {
    parts.top(tale, now); parts.notice(tale, now, what); parts.facts(tale, now); parts.doing(tale, now);
    parts.files(tale, now).catch(console.debug);
    parts.words(tale, now, what);
    if (topics.has("samples") || topics.has("first")) parts.samples(tale, now, what);
    if (topics.has("curve") || topics.has("first")) parts.curves(tale);
  };
  return { some, all(tale, now, what) { title(now.name, sentence(what, tale)); some(tale, now, what, new Set(["first"])); } };
}

/** What a run trains, in one line. */
function sentence(about, tale) {
  if (about.unreadable) return "";
  const images = tale?.latest.Started?.images;
  const kind = about.adapter === "lora" ? "LoRA" : about.adapter;
  return [kind && `${kind}${about.rank ? ` of rank ${about.rank}` : ""}`, about.base && `on ${about.base.split(/[\\/]/).at(-1)}`, about.resolution && `at ${about.resolution} px`, about.dataset && `from ${images ? `${images} pictures in ` : ""}${about.dataset}`].filter(Boolean).join(" ");
}

function progressOf(place) {
  const state = h("span"), told = h("span.figures"), took = h("span.note.figures"), track = h("div");
  place.append(h("div.row.between", {}, h("div.row", {}, state, told), took), track);
  let status = "", made = null;
  return (tale, head) => {
    const { share, words } = progress(head);
    if (status !== head.status) fill(state, badge(head.status));
    status = head.status;
    const text = head.status === "running" ? words : head.steps ? `${head.step} of ${head.steps} steps` : "";
    if (told.textContent !== text) told.textContent = text;
    const when = head.began ? (head.status === "running" ? `began ${ago(head.began)}` : `ended ${ago(head.latest)}`) : "";
    if (took.textContent !== when) took.textContent = when;
    const open = share === null || share === undefined;
    if (!made || made.open !== open) { fill(track, bar(share, `${head.name}: progress`)); made = { open }; }
    const drawn = track.firstChild;
    if (!open) { drawn.firstChild.style.width = `${100 * share}%`; drawn.setAttribute("aria-valuenow", Math.round(100 * share)); }
    drawn.setAttribute("aria-valuetext", words);
    document.title = `${head.status === "running" && !open ? `${Math.floor(100 * share)} % · ` : ""}${head.name} · Sweetspot`;
    track.hidden = head.status === "waiting";
  };
}

function figures(place) {
  const cell = (label) => { const value = h("dd"); place.append(h("div", {}, h("dt", {}, label), value)); return value; };
  const step = cell("Step"), epoch = cell("Epoch"), loss = cell("Loss, smoothed"), speed = cell("Speed"), left = cell("Time left"), ends = left.previousSibling, rate = cell("Learning rate"), memory = cell("Memory");
  memory.classList.add("small");
  const put = (where, text) => { if (where.textContent !== text) where.textContent = text; };
  return (tale, head) => {
    put(step, head.steps ? `${head.step} / ${head.steps}` : "–");
    put(epoch, head.steps ? `${head.epoch} / ${tale.latest.Started?.epochs ?? "–"}` : "–");
    put(loss, number(head.loss, 3));
    put(speed, !head.pace ? "–" : head.pace < 1 ? `${number(1 / head.pace, 3)} steps/s` : `${number(head.pace, 3)} s/step`);
    put(ends, head.status === "running" ? "Time left" : "Took");
    put(left, head.status === "running" ? (head.phase ? "–" : duration(head.left)) : head.began ? duration(head.latest - head.began) : "–");
    put(rate, number(head.rate, 3));
    const told = tale.latest.Planned?.facts.memory ?? "";
    put(memory, told);
    memory.parentElement.hidden = !told;
  };
}

/** What a person has to know before anything else: that it failed, was stopped, or stops. */
function notices(place) {
  let shown = "";
  return (tale, head, about) => {
    const verdict = head.analyses.findLast((each) => each.headline);
    const key = [head.status, head.stopping, head.problem, verdict?.headline, head.step].join("|");
    if (key === shown) return;
    shown = key;
    fill(place, told(head, about), verdict && h("div.verdict", {}, h("b", {}, "Verdict "), verdict.headline, " ", h("a", { href: `/analysis?work=${encodeURIComponent(verdict.name)}` }, "Why")));
    place.hidden = !place.childElementCount;
  };
}

function told(head, about) {
  const log = h("a", { href: "#log", onclick: () => { document.getElementById("log").open = true; } }, "Read the log");
  const on = head.step ? "Resume goes on from the last checkpoint." : "";
  if (head.stopping) return h("p.advice", { role: "status" }, "It was asked to stop: it finishes the step it is at, saves what it needs to go on, and ends. Resume goes on from there.");
  if (head.status === "failed") return h("div.problem", { role: "alert" }, h("b", {}, "It failed: "), head.problem || "it did not say why", ".", head.where && h("p.mono", {}, head.where), head.hint && h("p", {}, `Try: ${head.hint}.`), h("p.note", {}, [on, " "], log));
  if (head.status === "died") return h("div.problem", { role: "alert" }, h("b", {}, "It ended without a word"), head.steps ? ` after step ${head.step} of ${head.steps}` : "", ". Its process was ended from outside: the computer was switched off or ran out of memory, or somebody ended it.", h("p", {}, on || "Resume starts it again.", " ", log));
  if (head.status === "stopped") return h("p.advice", {}, head.steps ? `Stopped at step ${head.step} of ${head.steps}. Resume goes on from there; what comes out is what would have come out without the stop.` : "Stopped before its first step.");
  if (head.status === "waiting") return h("p.advice", {}, "It has not begun. Start it here, or let the queue do it. ", log);
  if (about.unreadable) return h("p.advice", {}, `Its job cannot be read: ${about.unreadable}.`);
  return null;
}
