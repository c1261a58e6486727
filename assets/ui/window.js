// The app in a window of its own: closing it while something runs is asked about.
import { toast } from "./core.js";

/** `going()` tells the names of what runs. Going to another page, or loading this one again, is no closing. */
export function askOnClose(going) {
  if (!matchMedia("(display-mode: standalone)").matches || !("navigation" in window)) return;
  let inside = 0;
  navigation.addEventListener("navigate", () => { inside = performance.now(); });
  addEventListener("beforeunload", (event) => {
    const names = going();
    if (!names.length || (inside && performance.now() - inside < 2000)) return;
    event.preventDefault();
    toast(`${names.length === 1 ? `${names[0]} goes` : `${names.length} runs go`} on without this window. Open Sweetspot again to see how far it is.`);
  });
}
