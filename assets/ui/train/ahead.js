// What a run will take, beside the form: memory, time, disk, curves, and what speaks against it.
import { bytes, duration, fill, h } from "../core.js";

/** {element, brief, busy, waiting, failed, wrong, show}; figures stay where they are while they change. */
export function ahead() {
  const state = h("p.note.state", { "aria-live": "polite" }), trouble = h("div", { role: "alert" }), advice = h("div.stack");
  const meter = memory(), facts = h("dl.facts"), words = h("div.stack"), plan = h("dl.plan");
  const rate = h("div.curve"), times = h("div.curve"), alike = h("p.note", {}, "From picture (left) to noise (right).");
  const figures = h("div.stack", { hidden: true }, meter.element, facts, advice, words,
    h("div.curves", {}, h("div", {}, h("h3", {}, "Learning rate"), rate), h("div", {}, h("h3", {}, "How often each time is drawn"), times, alike)),
    h("details", {}, h("summary", {}, "All of the plan"), plan));
  const element = h("div.card.ahead", {}, h("div.row.between", {}, h("h2", {}, "What it will take"), state), trouble, figures);
  const brief = h("span.figures", {}, "What it will take");
  const charts = {};
  let known = false;
  return {
    element, brief,
    busy() { state.textContent = "working it out…"; },
    waiting(told) { known = false; settle(h("p.soft", {}, told)); brief.textContent = "Choose a folder of pictures"; },
    failed(error) { settle(h("p.problem", {}, error.message, error.hint && ` Try: ${error.hint}.`)); brief.textContent = "It could not be worked out"; },
    wrong(problems, left, focus) {
      const many = problems.length === 1 ? "One setting needs a look" : `${problems.length} settings need a look`;
      brief.textContent = many;
      const place = (one) => (left.includes(one) ? one.where && `${one.where}: ` : [h("button.plain.jump", { type: "button", onclick: () => focus(one.where) }, one.where), " "]);
      settle(h("div.problem", {}, h("b", {}, many), h("ul", {}, problems.map((one) => h("li", {}, place(one), one.problem, one.hint ? `. Try: ${one.hint}.` : "")))));
    },
    show(told) {
      settle();
      const n = told.numbers;
      meter.set(n.memory, n.memory_free);
      fill(facts, fact("Steps", n.steps.toLocaleString()), fact("Time, about", n.seconds ? duration(n.seconds) : "told once measured"), fact("Disk", bytes(n.disk)));
      fill(advice, told.warnings.map((one) => h("p.advice", {}, sentence(one))));
      fill(words, h("p.note", {}, sentence(told.words.steps)), h("p.note", {}, sentence(told.words.rate)));
      fill(plan, Object.entries(told.facts).map(([label, one]) => [h("dt", {}, label), h("dd", {}, one)]));
      brief.textContent = [`${n.steps.toLocaleString()} steps`, n.seconds ? duration(n.seconds) : "", `${gib(n.memory)} of ${gib(n.memory_free)}`].filter(Boolean).join(" · ");
      known = true;
      figures.hidden = false;
      const [at] = told.times, even = at.length === 0;
      alike.textContent = even ? "This family draws all times alike, from picture to noise." : "From picture (left) to noise (right).";
      times.hidden = even;
      draw("rate", rate, told.rate, { label: "learning rate", x: "step" });
      if (!even) draw("times", times, told.times, { label: "density", x: "time" });
    },
  };
  /** The state is told; what is known from before stays, and is called so while a problem stands above it. */
  function settle(problem) {
    state.textContent = problem && known ? "figures from before" : "";
    fill(trouble, problem);
    figures.hidden = !known;
  }
  async function draw(name, place, data, { label, x }) {
    const { chart } = await import("../chart.js");
    charts[name] ??= chart(place, { series: [{ label, colour: "--accent", width: 2 }], height: 120, x });
    charts[name].set(data);
  }
}

function memory() {
  const words = h("b.figures"), filled = h("i"), bar = h("div.bar", { role: "meter", "aria-label": "Memory", "aria-valuemin": 0, "aria-valuemax": 100 }, filled);
  return {
    element: h("div.meter", {}, h("div.row.between", {}, h("span", {}, "Memory"), words), bar),
    set(needed, there) {
      const percent = there > 0 ? Math.min(100, (100 * needed) / there) : 100;
      words.textContent = `${gib(needed)} of ${gib(there)} free`;
      filled.style.width = `${percent}%`;
      bar.classList.toggle("over", needed > there);
      bar.setAttribute("aria-valuenow", Math.round(percent));
      bar.setAttribute("aria-valuetext", words.textContent + (needed > there ? ": it does not fit" : ""));
    },
  };
}
const gib = (count) => `${(count / 2 ** 30).toFixed(count < 10 * 2 ** 30 ? 1 : 0)} GiB`;
const fact = (label, words) => h("div", {}, h("dt", {}, label), h("dd", {}, words));
/** A setting's own name at the beginning stays as it is written. */
const sentence = (words) => `${/^\w+\.\w/.test(words) ? words : words.replace(/^./, (c) => c.toUpperCase())}${/[.!?]$/.test(words) ? "" : "."}`;
