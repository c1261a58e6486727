// What every page has: the rail with what runs now, light or dark, and the page's own script.
import { bar, fill, get, h, poll, progress, tell } from "./core.js";
import { askOnClose } from "./window.js";

const running = document.getElementById("running");
let shown = "";
poll(async () => {
  let works, orders;
  try { ({ works, orders } = await get("/api/now")); }
  catch (error) { fill(running, h("p.lost", { role: "alert" }, error.message)); shown = ""; return 2000; }
  const now = JSON.stringify([works, orders]);
  if (now !== shown) draw(works, orders);
  shown = now;
  document.dispatchEvent(new CustomEvent("now", { detail: works }));
  return works.length || orders ? 2000 : 4000;
}, 2000);

function draw(works, orders) {
  if (!works.length && !orders) return fill(running, h("p.soft", {}, "Nothing runs now"));
  fill(running, works.slice(0, 3).map((work) => {
    const { share, words } = progress(work);
    const page = work.noun === "sweep" ? "analysis" : "runs";
    return h("a.chip", { href: `/${page}?work=${encodeURIComponent(work.name)}` }, h("b", {}, work.name), bar(share, `${work.name}: ${words}`), h("span", {}, words));
  }), works.length > 3 && h("p.soft", {}, `and ${works.length - 3} more`),
    orders > 0 && h("a.chip", { href: "/generate" }, h("b", {}, "Generating"), h("span", {}, orders === 1 ? "1 order of pictures" : `${orders} orders of pictures`)));
}

let names = [];
document.addEventListener("now", ({ detail }) => { names = detail.map((work) => work.name); });
askOnClose(() => names);

document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme === "dark" || (root.dataset.theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
  document.dispatchEvent(new Event("theme"));
});

const page = document.body.dataset.page;
import(`./pages/${page}.js`).then((module) => module.draw(document.getElementById("page"), document.getElementById("actions")))
  .then(() => { document.body.dataset.ready = "yes"; }).catch(tell);
