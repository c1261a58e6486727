// What runs now, with how far it is; rows change in place.
import { action, bar, confirm, fill, h, post, progress } from "../../core.js";

export function running(changed) {
  const list = h("ul.stack");
  const element = h("section.card", { "aria-label": "Running", hidden: true }, h("h2", {}, "Running"), list);
  const rows = new Map();

  return {
    element,
    show({ running: jobs }) {
      element.hidden = !jobs.length;
      for (const [id, row] of rows) if (!jobs.some((job) => job.job === id)) { row.element.remove(); rows.delete(id); }
      for (const job of jobs) {
        if (!rows.has(job.job)) { rows.set(job.job, make(job)); list.append(rows.get(job.job).element); }
        rows.get(job.job).show(job);
      }
    },
  };

  function make(job) {
    const name = h("a", {}, job.name), words = h("span.note"), where = h("p.note"), place = h("div");
    const stop = action("Cancel", async () => { if (await confirm(`Cancel ${job.name}? It saves first, and its folder stays.`, "Cancel the job", "Let it run")) { await post("/api/queue/cancel", { jobs: [job.job] }); await changed(); } });
    let drawn = "";
    return {
      element: h("li.job.live", { "data-job": job.job }, h("div.row.between", {}, h("span.grow", {}, h("b", {}, name), " ", words), stop), place, where),
      show(now) {
        const work = now.work ?? { status: "running", phase: "", steps: 0 };
        const cut = now.state === "interrupted";
        const told = cut ? { share: null, words: "its worker is gone; the next takes it up where it was" } : work.status === "running" ? progress(work) : { share: null, words: { claimed: "taken", starting: "starting" }[now.stage] ?? now.stage ?? "starting" };
        stop.hidden = now.wish === "cancel";
        const state = JSON.stringify([told, now.wish, now.on, cut]);
        if (state === drawn) return;
        drawn = state;
        if (now.work) name.href = `/${now.work.noun === "sweep" ? "analysis" : "runs"}?work=${encodeURIComponent(now.work.name)}`;
        else name.removeAttribute("href");
        words.textContent = now.wish === "cancel" ? "is asked to stop; it saves first" : told.words;
        const old = place.querySelector(".bar i");
        if (!cut && told.share !== null && old && !place.querySelector(".open")) { old.style.width = `${100 * told.share}%`; place.querySelector(".bar").setAttribute("aria-valuenow", Math.round(100 * told.share)); }
        else fill(place, !cut && bar(told.share, `${now.name}: ${told.words}`));
        where.textContent = now.on ? `on ${now.on}` : "";
      },
    };
  }
}
