// Queue: who works, what runs, what waits in its order, and what ended.
import { action, confirm, duration, empty, fill, get, h, poll, post } from "../core.js";
import { add } from "./queue/add.js";
import { crew } from "./queue/crew.js";
import { endedList, waitingList } from "./queue/lists.js";
import { running } from "./queue/running.js";

export async function draw(page, actions) {
  const wrong = h("div.problem", { role: "alert", hidden: true });
  const facts = h("dl.facts");
  const figures = new Map();
  let shownPause = null;
  const note = h("p.note", { role: "status" });
  const paused = h("div.advice.row.between", { hidden: true });
  const nothing = h("div");
  const now = running(refresh), workers = crew(refresh), waiting = waitingList(refresh), ended = endedList(refresh);
  const whole = h("div.stack.queue", {}, paused, facts, note, workers.element, now.element, waiting.element, ended.element);
  fill(page, wrong, nothing, whole);
  const pause = h("button.quiet", { type: "button", onclick: () => ask(pause, () => setPause("later")) }, "Pause");
  actions.append(h("div.row", {}, pause, action("Add jobs", () => add(refresh), { kind: "primary" })));

  const load = async () => {
    let told;
    try { told = await get("/api/queue/now"); }
    catch (error) { wrong.hidden = false; fill(wrong, h("b", {}, error.message), error.where && h("p.mono", {}, error.where), error.hint && h("p", {}, `Try: ${error.hint}.`)); return 5000; }
    wrong.hidden = true;
    await show(told);
    return told.running?.length || told.starting.length ? 2000 : 4000;
  };
  async function refresh() { await load(); }
  await load();
  poll(load, 2000);

  async function show(told) {
    const some = told.exists && Object.values(told.counts).some(Boolean);
    const workless = !told.workers?.length && !told.starting.length;
    if (!some && !nothing.children.length) fill(nothing, empty("Nothing waits here", "Put several trainings in line, and they run one after the other, overnight too. From the Train page, “Add to the queue”; or here: job files, or one job with several values for a setting.", h("div.row", {}, h("a.button", { href: "/train" }, "Train page"), action("Add jobs", () => add(refresh), { kind: "primary" }))));
    if (some) fill(nothing);
    facts.hidden = note.hidden = !some;
    pause.hidden = !told.exists;
    workers.element.hidden = !some && workless;
    workers.show(told);
    if (!told.exists) { for (const list of [now, waiting, ended]) list.element.hidden = true; return; }
    count(told);
    showPause(told);
    now.show(told);
    await Promise.all([waiting.show(told), ended.show(told)]);
  }

  function count({ counts, left, workers: at, running: run }) {
    const failed = (counts.failed ?? 0);
    const all = [["Running", run.filter((one) => one.state === "running").length], ["Waiting", counts.queued ?? 0], ["Completed", counts.completed ?? 0], ["Failed", failed], ["Stopped or cancelled", (counts.stopped ?? 0) + (counts.cancelled ?? 0)]];
    for (const [name, value] of all) {
      if (!figures.has(name)) { figures.set(name, h("dd", {})); facts.append(h("div", {}, h("dt", {}, name), figures.get(name))); }
      const words = value.toLocaleString("en");
      if (figures.get(name).textContent !== words) figures.get(name).textContent = words;
    }
    const hands = Math.max(1, at.length);
    const words = !counts.queued ? "" : left.seconds === null ? "How long the waiting jobs take is told once one of their kind has ended." :
      `The waiting jobs take about ${duration(left.seconds / hands)}${hands > 1 ? ` with ${hands} workers` : ""}, by what the last ${left.ended === 1 ? "one" : left.ended} took.`;
    if (note.textContent !== words) note.textContent = words;
  }


  function showPause({ pause: how, running: run }) {
    const state = `${how} ${run.length > 0}`;
    if (state === shownPause) return;
    shownPause = state;
    pause.hidden = how !== "";
    paused.hidden = how === "";
    fill(paused, h("span", {}, h("b", {}, "The queue is paused. "), how === "now" ? "What ran saved and waits again." : "What runs goes on; nothing new begins."),
      h("span.row", {}, how === "later" && run.length > 0 && action("Stop what runs too", async () => { if (await confirm("Stop what runs? It saves first, and goes on later where it was.", "Stop and save")) await setPause("now"); }), action("Go on", () => setPause(""), { kind: "primary" })));
  }
  async function setPause(how) { await post("/api/queue/pause", { pause: how }); await refresh(); }
}

async function ask(button, work) {
  button.disabled = true;
  try { await work(); } finally { button.disabled = false; }
}
