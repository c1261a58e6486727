// The workers: processes that take one job after another, each on its device.
import { action, ago, confirm, fill, h, post } from "../../core.js";

export function crew(changed) {
  const list = h("ul.crew");
  const device = h("select", { "aria-label": "Device of a new worker" }, ["auto", "cuda:0", "cuda:1", "cuda:2", "cuda:3", "mps", "cpu"].map((name) => h("option", { value: name }, name === "auto" ? "best device" : name)));
  const start = action("Start a worker", async () => { await post("/api/queue/worker", { device: device.value }); await changed(); }, { kind: "primary" });
  const element = h("section.card.workers", { "aria-label": "Workers", hidden: true }, h("div.row.between", {}, h("h2", {}, "Workers"), h("span.row", {}, device, start)), list);
  let shown = "";
  const stop = async (worker, now) => { await post("/api/queue/worker/stop", { worker: worker.id, now }); await changed(); };
  const beginning = (one) => (one.code === null
    ? h("li.row", {}, h("span.badge.running", {}, "Starting"), h("span", {}, one.device === "auto" ? "best device" : one.device))
    : h("li.problem", { role: "alert" }, h("b", {}, `The worker on ${one.device} ended: `), one.words || `exit code ${one.code}`));

  return {
    element,
    show({ workers = [], starting, counts, running = [] }) {
      const coming = starting.filter((one) => !workers.some((worker) => worker.here && worker.pid === one.pid));
      const cut = running.some((one) => one.state === "interrupted");
      const now = JSON.stringify([workers.map(({ seen, ...rest }) => (rest.here ? rest : { ...rest, seen: ago(seen) })), coming, Boolean(counts?.queued), cut]);
      if (now === shown) return;
      shown = now;
      start.classList.toggle("primary", !workers.length && !coming.some((one) => one.code === null));
      fill(list, workers.map(row), coming.map(beginning), !workers.length && !coming.some((one) => one.code === null) && h("li.soft", {}, cut ? "The worker is gone; the next one takes its job up where it was. Start one." : counts?.queued ? "Nobody works yet: start a worker, and the first job begins." : "Nobody works; nothing waits."));
    },
  };

  function row(worker) {
    const going = worker.leaves === "now" ? "saves and goes" : worker.leaves ? "goes after this job" : "";
    return h("li.row.between", { "data-worker": worker.id }, h("div.grow", {}, h("b", {}, worker.device), worker.here ? "" : ` on ${worker.host}`, h("span.note", {}, ` ${worker.job ? `works on ${worker.job.name}` : "waits for jobs"}${going && `; ${going}`}`),
      h("p.note", {}, worker.here ? `process ${worker.pid}, since ${new Date(worker.since * 1000).toLocaleString()}` : `last heard of ${ago(worker.seen)}`)),
      h("span.row", {}, worker.job && worker.leaves === "" && action("Stop after this job", () => stop(worker, false)),
        worker.leaves !== "now" && action(worker.job ? "Stop now" : "Stop", async () => { if (!worker.job || (await confirm(`Stop the worker on ${worker.device}? ${worker.job.name} saves first, and waits again at its place.`, "Stop and save"))) await stop(worker, true); })));
  }
}
