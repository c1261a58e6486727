// What can be done with a run: stop, resume, again, longer, analyse, away. Asks before what ends something.
import { action, confirm, dialog, fill, h, post, toast } from "../core.js";
import { copy } from "./papers.js";

/** Buttons for the run's state, put into `place` anew only when the state changed; `again()` is called after each. */
export function doing(place, again) {
  let shown = "";
  return (tale, head) => {
    const verdict = head.analyses.findLast((each) => each.headline);
    const working = head.analyses.findLast((each) => each.status === "running");
    const key = [head.status, head.stopping, head.files > 0, verdict?.name, working?.name].join("|");
    if (key === shown) return;
    shown = key;
    const had = place.contains(document.activeElement);
    fill(place, main(head, verdict, working, again), more(head, tale, again));
    if (had) place.querySelector("button, a, summary")?.focus();
  };
}

function main(head, verdict, working, again) {
  const found = [];
  const runs = head.status === "running";
  if (runs) found.push(action(head.stopping ? "Stopping…" : "Stop and save", async () => { await post("/api/runs/stop", { work: head.name }); toast("It finishes this step, saves, and ends"); await again(); }, { title: "Finishes the step it is at, keeps what is needed to go on, and ends. Resume goes on from there.", "aria-disabled": head.stopping }));
  if (!runs && head.status !== "completed") found.push(action(head.status === "waiting" ? "Start" : "Resume", async () => { await post("/api/runs/resume", { work: head.name }); await again(); }, { kind: "primary", title: "Goes on from the newest checkpoint" }));
  if (working) found.push(h("a.button", { href: work(working.name) }, "See the analysis"));
  else if (verdict) found.push(h("a.button.primary", { href: work(verdict.name) }, verdict.chosen === null ? "See the analysis" : "See the verdict, keep the LoRA"));
  else if (head.files && !runs) found.push(h(`a.button${head.status === "completed" ? ".primary" : ""}`, { href: `/analysis?run=${encodeURIComponent(head.name)}` }, "Analyse"));
  return found;
}
const work = (name) => `/analysis?work=${encodeURIComponent(name)}`;

function more(head, tale, again) {
  const close = (each) => async () => { box.open = false; await each(); };
  const item = (words, each, props = {}) => action(words, close(each), { kind: "plain", ...props });
  const box = h("details.menu", {}, h("summary.button", {}, "More"), h("div.items", {},
    h("a.button.plain", { href: `/train?from=${encodeURIComponent(head.name)}` }, "Duplicate"),
    item("Continue longer…", () => longer(head, tale)),
    head.analyses.length > 0 && h("a.button.plain", { href: `/analysis?run=${encodeURIComponent(head.name)}` }, "Analyse again"),
    item("Copy the folder's path", () => copy(head.path, "Path")),
    head.status !== "running" && item("Move to the trash…", () => away(head), { kind: "plain.danger" })));
  box.addEventListener("keydown", (event) => { if (event.key === "Escape") { box.open = false; box.firstChild.focus(); } });
  box.addEventListener("focusout", (event) => { if (event.relatedTarget && !box.contains(event.relatedTarget)) box.open = false; });
  return box;
}
document.addEventListener("click", (event) => { for (const box of document.querySelectorAll("details.menu[open]")) if (!box.contains(event.target)) box.open = false; });

function longer(head, tale) {
  const epochs = tale.latest.Started?.epochs ?? 0;
  const wanted = h("input", { type: "text", inputMode: "numeric", id: "longer", value: String(2 * epochs || ""), autocomplete: "off" });
  const link = h("a.button.primary", {}, "Set up the longer run");
  const point = () => { link.href = `/train?${new URLSearchParams({ from: head.name, ...(/^\d+$/.test(wanted.value.trim()) ? { "schedule.epochs": wanted.value.trim() } : {}) })}`; };
  wanted.addEventListener("input", point);
  wanted.addEventListener("keydown", (event) => event.key === "Enter" && link.click());
  point();
  dialog("Continue longer", h("p", {}, head.status === "completed"
    ? "A run that is completed cannot be lengthened: its learning rate has followed a schedule made for its length, and has come to its end."
    : "Resume brings this run to the end that it was made for. It cannot be lengthened: its learning rate follows a schedule made for its length."),
    h("p", {}, "What can be done is to train again for longer, from the beginning, with the same settings, pictures and seed. The pictures and captions are encoded already; this run stays as it is."),
    h("div.field", {}, h("label", { htmlFor: "longer" }, "Epochs"), wanted, h("p.help", {}, epochs ? `This run was made for ${epochs}.` : "")), h("div.row", {}, link));
  wanted.select();
}

async function away(head) {
  if (!(await confirm(`Move ${head.name} to the trash? Its LoRA files, samples and analyses go with it. Nothing is deleted: its folder moves to “trash” in the runs folder.`, "Move to the trash"))) return;
  const { name } = await post("/api/runs/discard", { work: head.name });
  sessionStorage.setItem("runs.trash", JSON.stringify({ name, was: head.name }));
  location.href = "/runs";
}
