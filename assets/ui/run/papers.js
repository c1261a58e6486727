// What a run leaves: LoRA files, the job it was asked, what was warned of and proven, and its log.
import { action, bytes, fill, get, h, number, poll, toast } from "../core.js";

export const copy = async (text, what) => { await navigator.clipboard.writeText(text); toast(`${what} copied`); };

/** The card of LoRA files; returns draw(head): asks for the files anew only when there are more. */
export function files(place) {
  const body = h("tbody"), none = h("p.note"), table = h("div.scroll.files", {}, h("table", {}, h("thead", {}, h("tr", {}, ["File", "Epoch", "Size", ""].map((words, n) => h(n === 1 || n === 2 ? "th.figures" : "th", { scope: "col" }, words || h("span.hidden", {}, "Actions"))))), body));
  place.append(h("section.card.stack", { "aria-label": "LoRA files" }, h("h2", {}, "LoRA files"), none, table));
  let known = "";
  return async (tale, head) => {
    const chosen = head.analyses.findLast((each) => each.chosen !== null)?.chosen;
    none.hidden = head.files > 0; table.hidden = head.files === 0;
    none.textContent = head.status === "running" ? "The first file comes when an epoch that is saved ends." : "This run left no LoRA file.";
    const key = `${head.files} ${tale.saved.size} ${chosen}`;
    if (key === known || !head.files) return;
    known = key;
    const saved = new Map([...tale.saved.values()].map((event) => [event.path.split("/").at(-1), event]));
    const found = await get("/api/runs/files", { work: head.name });
    fill(body, found.map((file) => {
      const event = saved.get(file.name), url = `/api/runs/lora?${new URLSearchParams({ work: head.name, name: file.name })}`;
      return h("tr", {}, h("td.mono", {}, file.name, event && event.epoch === chosen && h("span.chosen", {}, "chosen by the analysis")), h("td.figures", {}, event ? String(event.epoch) : "–"), h("td.figures", {}, bytes(file.size)),
        h("td", {}, h("div.row.tight", {}, h("a.button", { href: url, download: file.name, "aria-label": `Download ${file.name}` }, "Download"), action("Copy path", () => copy(file.path, "Path"), { "aria-label": `Copy the path of ${file.name}` }), h("a.button", { href: `/generate?${new URLSearchParams({ lora: file.path })}`, "aria-label": `Generate with ${file.name}` }, "Generate"))));
    }));
  };
}

/** Cards with words, each open on demand; returns draw(tale, head, about). */
export function words(place) {
  const warned = h("ul.stack"), proof = h("p"), plan = h("dl.told"), job = h("div.stack"), log = h("pre.log", { role: "region", tabIndex: 0, "aria-label": "The end of the log" }), where = h("p.note.mono"), trackers = h("p.note");
  const proven = h("section.card", { "aria-label": "Proof" }, h("h2", {}, "Proof"), proof);
  const warnings = h("section.card", { "aria-label": "Warnings" }, h("h2", {}, "Warnings"), warned);
  const planned = h("details.card", {}, h("summary", {}, "What it said before it began"), plan);
  const asked = h("details.card", {}, h("summary", {}, "Settings"), job);
  const logged = h("details.card", { id: "log" }, h("summary", {}, "Log of the process"), log, where);
  place.append(warnings, proven, asked, planned, logged);
  let head = null, stop = null;
  asked.addEventListener("toggle", () => asked.open && !job.childElementCount && get("/api/runs/job", { work: head.name }).then((told) => fill(job, settings(told), trackers), (error) => fill(job, h("p.problem", {}, error.message, error.where && ` (${error.where})`))));
  logged.addEventListener("toggle", () => {
    stop?.();
    if (logged.open) stop = poll(async () => {
      const told = await get("/api/runs/log", { work: head.name }), low = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
      const text = told.text || "Nothing was printed.";
      if (text !== log.textContent) { log.textContent = text; if (low) log.scrollTop = log.scrollHeight; }
      where.textContent = told.whole ? told.path : `The end of ${told.path}`;
      return head.status === "running" ? 3000 : 30000;
    });
  });
  let shown = "";
  return (tale, now, about) => {
    head = now;
    trackers.textContent = about.trackers?.length ? `Also told: ${about.trackers.join(", ")}.` : "";
    const key = `${tale.warnings.size} ${tale.proven.size} ${Boolean(tale.latest.Planned)}`;
    if (key === shown) return;
    shown = key;
    warnings.hidden = !tale.warnings.size; proven.hidden = !tale.proven.size; planned.hidden = !tale.latest.Planned;
    fill(warned, [...tale.warnings.values()].map((event) => h("li.advice", {}, event.message)));
    fill(proof, [...tale.proven.values()].map((e) => `${e.path} was opened again, as another program would: its ${e.modules} modules move a picture by ${number(e.moved, 3)} of 255 levels, and it differs from the trained model's own by ${e.difference ? `at most ${number(e.difference, 3)}` : "nothing"}. `));
    fill(plan, Object.entries(tale.latest.Planned?.facts ?? {}).map(([label, sentence]) => h("div", {}, h("dt", {}, label), h("dd", {}, sentence))));
  };
}

function settings({ settings: all, text, path }) {
  const changed = all.filter((one) => one.changed), rest = all.filter((one) => !one.changed);
  const rows = (found) => h("dl.told", {}, found.map((one) => h("div", {}, h("dt", { title: one.help }, one.known ? h("span.soft", {}, sectionOf(one.path)) : "", one.label), h("dd", { dir: "auto" }, one.value, one.unit && one.value !== "none" && ` ${one.unit}`, one.known && one.changed && h("span.note", {}, ` instead of ${one.default}`), !one.known && h("span.note.warned", {}, " this version does not know it")))));
  return [h("h3", {}, `Changed from the defaults (${changed.length})`), rows(changed), h("details", {}, h("summary", {}, `The other ${rest.length} settings`), rows(rest)),
    h("details", {}, h("summary", {}, "As a job file"), h("pre.log", { role: "region", tabIndex: 0, "aria-label": "The job file" }, text), h("p.note.mono", {}, path)),
    h("div.row", {}, action("Copy as a job file", () => copy(text, "Job file")))];
}
const sectionOf = (path) => (path.includes(".") ? `${path.split(".").slice(0, -1).join(" ").replaceAll("_", " ")} · ` : "");
