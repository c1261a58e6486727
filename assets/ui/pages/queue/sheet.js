// One job: its settings, and what else can be done with it.
import { action, confirm, dialog, get, h, post, toast } from "../../core.js";

export async function sheet(job, { moved, changed }) {
  const told = await get("/api/queue/job", { job: job.job }).catch((error) => ({ text: `# ${error.message}` }));
  const then = (work) => async () => { await work(); box.close(); await changed(); };
  const number = h("input", { type: "number", value: job.priority, step: 1, min: -1000, max: 1000, "aria-label": "Priority" });
  const waits = job.state === "queued";
  const copy = action("Copy", async () => { await navigator.clipboard.writeText(told.text); toast("The settings are copied"); }, { kind: "plain" });
  const box = dialog(job.name,
    waits && moved && h("div.row", {}, action("To the front", then(() => moved(job, "first"))), action("To the end", then(() => moved(job, "last"))),
      h("label.row.priority", {}, "Priority", number), action("Set", then(() => moved(job, "priority", { priority: Math.round(Number(number.value) || 0) })))),
    waits && moved && h("p.note", {}, "Jobs of a higher priority go first, whatever their place."),
    job.why && h("p", {}, job.why), job.hint && h("p.note", {}, `Try: ${job.hint}`),
    h("div.row", {}, job.state !== "queued" && job.state !== "completed" && action("Retry from the start", then(() => post("/api/queue/retry", { jobs: [job.job], fresh: true })), { title: "In a new run folder" }),
      waits && action("Remove from the queue", async () => { if (await confirm(`Remove ${job.name} from the queue?`, "Remove")) await then(() => post("/api/queue/forget", { jobs: [job.job] }))(); }, { kind: "danger" })),
    h("div.row.between", {}, h("h3", {}, "Its settings"), copy), h("pre.mono.settings", { role: "region", tabindex: "0", "aria-label": "Settings" }, told.text));
}
