// What waits, in its order, and what ended: in parts, so that ten thousand stay usable.
import { action, ago, asked, badge, confirm, duration, fill, get, h, post, remember, tell, toast } from "../../core.js";
import { movable } from "./moving.js";
import { sheet } from "./sheet.js";

const PART = 100;

export function waitingList(changed) {
  const list = h("ol.jobs");
  const said = h("p.hidden", { role: "status" });
  const base = partly({ url: "/api/queue/waiting", title: "Waiting", list, key: "waiting", row });
  const moved = async (job, how, more = {}) => {
    try { await post("/api/queue/move", { job: job.job, how, ...more }); }
    catch (error) { tell(error); }
    await base.load();
    const place = base.jobs().findIndex((one) => one.job === job.job);
    said.textContent = place >= 0 ? `${job.name} is number ${place + 1} of those shown` : `${job.name} moved`;
  };
  movable(list, base, moved);
  base.element.append(said);
  return { element: base.element, show: (told) => base.show(told.counts.queued ?? 0, told.stamps.waiting) };

  function row(job) {
    const place = h("span.place.figures"), extra = h("span.note");
    const open = () => sheet(current, { moved, changed });
    let current = job;
    return {
      element: h("li.job", { "data-job": job.job }, h("span.handle", { draggable: true, "aria-hidden": "true", title: "Drag to move" }, "⠿"), place,
        h("button.plain.name", { type: "button", onclick: open, title: "Settings, and more to do" }, job.name), extra,
        h("span.row.tools", {}, h("button.plain", { type: "button", "aria-label": `Move ${job.name} up`, title: "Up (Alt+↑)", onclick: () => moved(current, "up") }, "↑"), h("button.plain", { type: "button", "aria-label": `Move ${job.name} down`, title: "Down (Alt+↓)", onclick: () => moved(current, "down") }, "↓"),
          action("Cancel", async () => { await post("/api/queue/cancel", { jobs: [job.job] }); toast(`${job.name} is cancelled; it stands below, and can be put back`); await changed(); }, { kind: "plain" }))),
      show(now, index) {
        current = now;
        place.textContent = index + 1;
        extra.textContent = [now.kind === "analyse" && "analysis", now.device !== "auto" && now.device, now.priority !== 0 && `priority ${now.priority}`, now.folder && "goes on where it was"].filter(Boolean).join(" · ");
      },
    };
  }
}

export function endedList(changed) {
  const list = h("ul.jobs.ended");
  const state = h("select", { "aria-label": "Which", onchange: () => { remember({ state: state.value }); base.reset(); } }, [["", "All that ended"], ["failed", "Failed"], ["completed", "Completed"], ["stopped", "Stopped"], ["cancelled", "Cancelled"]].map(([value, words]) => h("option", { value }, words)));
  state.value = asked("state") ?? "";
  const clear = action("Forget these", async () => {
    const states = state.value ? [state.value] : ["completed", "cancelled"];
    if (!(await confirm(`Forget the jobs that are ${states.join(" or ")}? Their run folders stay.`, "Forget"))) return;
    const { forgotten } = await post("/api/queue/clear", { states });
    toast(`${forgotten} jobs are forgotten; their folders stay`);
    await changed();
  }, { kind: "quiet" });
  const again = action("Retry all that failed", async () => {
    const { jobs } = await get("/api/queue/ended", { state: "failed", most: 1000 });
    if (jobs.length) await post("/api/queue/retry", { jobs: jobs.map((job) => job.job) });
    await changed();
  }, { kind: "quiet" });
  const base = partly({ url: "/api/queue/ended", title: "Ended", list, key: "ended", row, params: () => ({ state: state.value }), tools: [state, again, clear] });
  return {
    element: base.element,
    show: (told) => {
      const count = ["completed", "failed", "stopped", "cancelled"].reduce((sum, name) => sum + (told.counts[name] ?? 0), 0);
      again.hidden = !told.counts.failed;
      return base.show(count, told.stamps.ended);
    },
  };

  function row(job) {
    const place = h("div.ended");
    let drawn = "";
    return {
      element: h("li.job", { "data-job": job.job }, place),
      show(now) {
        const state = JSON.stringify(now);
        if (state === drawn) return;
        drawn = state;
        fill(place, h("div.row.between", {}, h("span.grow", {}, h("button.plain.name", { type: "button", onclick: () => sheet(now, { changed }) }, now.name), badge(now.state === "cancelled" ? "stopped" : now.state, now.state)),
          h("span.row.tools", {}, h("span.note.figures", {}, [now.seconds >= 1 && duration(now.seconds), now.ended && ago(now.ended)].filter(Boolean).join(" · ")),
            now.run && h("a.button.plain", { href: `/runs?work=${encodeURIComponent(now.run)}`, "aria-label": `Run of ${now.name}` }, "Run"),
            now.state !== "completed" && action("Retry", async () => { await post("/api/queue/retry", { jobs: [now.job] }); toast(`${now.name} waits again`); await changed(); }, { kind: "plain" }),
            action("Forget", async () => { await post("/api/queue/forget", { jobs: [now.job] }); await changed(); }, { kind: "plain", title: "Takes it off this list; its folder stays" }))),
          now.why && h("p.why", {}, now.why), now.hint && now.state === "failed" && h("p.note", {}, `Try: ${now.hint}`));
      },
    };
  }
}

/** A list that is loaded in parts and keeps its rows; its own search. */
function partly({ url, title, list, key, row, params = () => ({}), tools = [] }) {
  const rows = new Map();
  const words = h("input", { type: "search", placeholder: "Find by name", "aria-label": `Find among ${title.toLowerCase()}`, value: asked(key) ?? "", oninput: () => { clearTimeout(timer); timer = setTimeout(() => { remember({ [key]: words.value.trim() }); reset(); }, 200); } });
  const more = h("button", { type: "button", hidden: true, onclick: () => { most += PART; load(); } });
  const heading = h("h2", {}, title);
  const none = h("p.soft", { hidden: true }, "None has these words in its name.");
  const element = h("section.card", { "aria-label": title, hidden: true }, h("div.row.between.listhead", {}, heading, h("span.row", {}, tools, h("span.find", {}, words))), none, list, h("div.row.more", {}, more));
  let most = PART, timer = 0, shown = null, stamp = null, jobs = [], turn = 0;
  const reset = () => { most = PART; load(); };

  async function load() {
    const mine = (turn += 1);
    let told;
    try { told = await get(url, { most, words: words.value.trim(), ...params() }); } catch (error) { return tell(error); }
    if (mine !== turn || element.dataset.dragging) return;
    jobs = told.jobs;
    place();
    more.hidden = jobs.length >= told.total;
    more.textContent = `Show ${Math.min(PART, told.total - jobs.length).toLocaleString("en")} more of ${told.total.toLocaleString("en")}`;
    none.hidden = jobs.length > 0;
    if (jobs.length && most > 1000 && jobs.length < told.total) more.hidden = jobs.length >= 1000;
  }
  /** Put the rows in order; those that are in their place are not touched, and the focus stays. */
  function place() {
    const focus = list.contains(document.activeElement) ? document.activeElement : null;
    const kept = new Set(jobs.map((job) => job.job));
    for (const [id, made] of rows) if (!kept.has(id)) { made.element.remove(); rows.delete(id); }
    let at = list.firstElementChild;
    jobs.forEach((job, index) => {
      if (!rows.has(job.job)) rows.set(job.job, row(job));
      const made = rows.get(job.job);
      made.show(job, index);
      if (made.element === at) at = at.nextElementSibling;
      else list.insertBefore(made.element, at);
    });
    if (focus?.isConnected && document.activeElement !== focus) focus.focus({ preventScroll: false });
  }
  return {
    element, load, reset, jobs: () => jobs,
    async show(count, now) {
      element.hidden = count === 0;
      heading.textContent = `${title} (${count.toLocaleString("en")})`;
      if (stamp === now && shown === count) return;
      if (element.dataset.dragging) return;
      stamp = now; shown = count;
      await load();
    },
  };
}
