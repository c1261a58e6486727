// Analysis: what to analyse, the form for it, the analysis itself, and blind votes; the address tells which.
import { asked } from "../core.js";

export async function draw(page, actions) {
  document.body.dataset.part = part();
  if (part() === "vote") return (await import("../analysis/vote.js")).draw(page, actions, asked("vote"));
  if (part() === "work") return (await import("../analysis/work.js")).draw(page, actions, asked("work"));
  if (part() === "ask") return (await import("../analysis/ask.js")).draw(page, actions, { run: asked("run") ?? "", loras: (asked("loras") ?? "").split("\n").filter(Boolean), like: asked("like") ?? "" });
  return (await import("../analysis/choose.js")).draw(page, actions);
}

const part = () => (asked("vote") ? "vote" : asked("work") ? "work" : asked("run") || asked("loras") ? "ask" : "choose");
