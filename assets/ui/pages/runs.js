// Runs: the list of all, or one of them.
import { asked } from "../core.js";

export async function draw(page, actions) {
  const name = asked("work");
  const part = await (name ? import("../run/one.js") : import("../run/all.js"));
  await part.draw(page, actions, name);
}
