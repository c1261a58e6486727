// A field with its label above and its help below, for dialogs that are no form of a schema.
import { h } from "./core.js";

let number = 0;
export function labelled(words, input, help = "") {
  input.id ||= `labelled-${(number += 1)}`;
  if (help) input.setAttribute("aria-describedby", `${input.id}-help`);
  return h("div.field", {}, h("label", { htmlFor: input.id }, words), input, help && h("span.help", { id: `${input.id}-help` }, help));
}
