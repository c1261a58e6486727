// Blind votes: two pictures of one prompt and seed, without names; each vote is written at once.
import { action, bar, empty, fill, get, h, picture, post, tell } from "../core.js";

export async function draw(page, actions, work) {
  const url = "/api/analysis/votes";
  let turn;
  try { turn = await get(url, { work }); }
  catch (error) { return fill(page, empty("There is nothing to vote on yet", `${error.message.replace(/^./, (c) => c.toUpperCase())}.`, h("a.button", { href: `/analysis?work=${encodeURIComponent(work)}` }, "To the analysis"))); }
  const booth = h("section.card.booth", { "aria-label": "Vote" }), told = h("section.card", { hidden: true, "aria-label": "What the votes say" });
  fill(page, h("div.row.between", {}, h("div", {}, h("h2", {}, "Which is better?"), h("p.note", {}, h("a", { href: `/analysis?work=${encodeURIComponent(work)}` }, "To the analysis"), ` · ${work}`)), h("div.row", {}, undo(), action("What the votes say", () => results()))), booth, told);
  let busy = false, left, right;
  show();

  function undo() { const made = h("button", { type: "button", onclick: back }, "Undo ", h("kbd", {}, "U")); made.id = "undo"; return made; }
  async function vote(winner) {
    if (busy || !turn.pairs.length) return;
    busy = true; booth.setAttribute("aria-busy", "true");
    try { turn = await post(url, { work, pair: turn.pairs[0], winner }); show(); if (!told.hidden) await results(); } catch (error) { tell(error); }
    busy = false; booth.removeAttribute("aria-busy");
  }
  async function back() {
    if (busy || !turn.votes) return;
    busy = true;
    try { turn = await post("/api/analysis/unvote", { work }); show(); if (!told.hidden) await results(); } catch (error) { tell(error); }
    busy = false;
  }
  function show() {
    document.getElementById("undo").disabled = !turn.votes;
    const pair = turn.pairs[0], place = (name) => (/^([/\\]|[A-Za-z]:)/.test(name) ? name : `${turn.folder}/${name}`);
    if (!pair) return fill(booth, empty("All pairs are voted on", "Every two settings were compared at every prompt and seed.", action("What the votes say", () => results(), { kind: "primary" })));
    for (const next of turn.pairs.slice(1)) for (const name of [next.left, next.right]) new Image().src = picture(place(name));
    left = h("button", { type: "button", "aria-label": "The left picture is better", onclick: () => vote("left") }, h("img", { src: picture(place(pair.left)), alt: "" }));
    right = h("button", { type: "button", "aria-label": "The right picture is better", onclick: () => vote("right") }, h("img", { src: picture(place(pair.right)), alt: "" }));
    const words = turn.votes < turn.enough ? `${turn.votes} vote${turn.votes === 1 ? "" : "s"}; after ${turn.enough} all ${turn.settings} settings can be compared` : `${turn.votes} votes; each further one makes it surer`;
    return fill(booth, h("p.prompt", { dir: "auto" }, pair.prompt), h("div.duel", {}, left, right),
      h("div.row", {}, h("button", { type: "button", onclick: () => vote("left") }, h("kbd", {}, "←"), " Left"), h("button", { type: "button", onclick: () => vote("tie") }, "No difference ", h("kbd", {}, "Space")), h("button", { type: "button", onclick: () => vote("right") }, "Right ", h("kbd", {}, "→"))),
      h("div.counted", { "aria-live": "polite" }, bar(turn.enough ? Math.min(1, turn.votes / turn.enough) : 1, words), h("span.note", {}, words)));
  }
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, textarea, dialog") || event.ctrlKey || event.metaKey || event.repeat) return;
    const does = { ArrowLeft: () => vote("left"), ArrowRight: () => vote("right"), " ": () => vote("tie"), u: back, U: back }[event.key];
    if (!does || (event.key === " " && event.target.closest("a, #undo, header button"))) return;
    event.preventDefault(); does();
  });
  async function results() {
    const found = await get("/api/analysis/results", { work });
    told.hidden = false;
    const percent = (share) => `${Math.round(100 * share)}%`;
    const name = (one) => (one.epoch ? `epoch ${one.epoch} at ${one.at}` : one.at ? `strength ${one.at}` : "the base model");
    fill(told, h("h2", {}, "What the votes say"), h("ul.why", {}, found.sentences.map((words) => h("li", {}, words.replace(/^./, (c) => c.toUpperCase())))),
      found.standings.length > 0 && h("div.scroll", {}, h("table", {}, h("caption.hidden", {}, "Settings by how often they are preferred"), h("thead", {}, h("tr", {}, ["Setting", "Preferred over the average", "", "95% interval", "Won", "Lost", "Tied"].map((words, i) => h(i > 2 || i === 1 ? "th.figures" : "th", { scope: "col" }, words)))),
        h("tbody", {}, found.standings.map((one) => h("tr", {}, h("td", {}, name(one), found.islands > 1 && h("span.note", {}, ` group ${one.island + 1}`)), h("td.figures", {}, percent(one.preferred)), h("td", {}, h("div.span", { "aria-hidden": "true" }, h("i", { style: `left:${100 * one.from}%;width:${100 * (one.to - one.from)}%` }), h("b", { style: `left:${100 * one.preferred}%` }))), h("td.figures", {}, `${percent(one.from)} to ${percent(one.to)}`), h("td.figures", {}, one.wins), h("td.figures", {}, one.losses), h("td.figures", {}, one.ties)))))),
      found.agreements.length > 0 && h("h3", {}, "Do the metrics agree?"), found.agreements.length > 0 && h("p.note", {}, "Half of the votes is what chance agrees with."),
      found.agreements.length > 0 && h("div.scroll", {}, h("table", {}, h("thead", {}, h("tr", {}, ["Metric", "Agrees with", "95% interval", "Votes", "Order of settings (tau)"].map((words, i) => h(i ? "th.figures" : "th", { scope: "col" }, words)))), h("tbody", {}, found.agreements.map((one) => h("tr", {}, h("td", {}, one.title), h("td.figures", {}, percent(one.share)), h("td.figures", {}, `${percent(one.low)} to ${percent(one.high)}`), h("td.figures", {}, one.counted), h("td.figures", {}, one.tau === null ? "–" : one.tau.toFixed(2))))))),
      h("div.row", {}, h("a.button", { href: `/api/analysis/download?${new URLSearchParams({ work, name: "votes.jsonl" })}`, download: "" }, "Votes (JSON lines)")));
    told.scrollIntoView({ block: "nearest" });
  }
}
