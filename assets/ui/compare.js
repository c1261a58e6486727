// Two pictures, one over the other, with a line that is drawn across them.
import { dialog, h } from "./core.js";

/** Show `before` and `after` ({src, label}) large; with one of them only, that one. */
export function compare(title, before, after, ...more) {
  const slide = h("input", { type: "range", min: 0, max: 100, value: 50, step: 1, "aria-label": `Where ${before?.label ?? ""} ends and ${after.label} begins` });
  const pair = h(`div.pair${before ? "" : ".alone"}`, {},
    before && h("img", { src: before.src, alt: before.label }), h("img.over", { src: after.src, alt: after.label }),
    before && h("span.tag.left", {}, before.label), h("span.tag.right", {}, after.label), before && h("span.edge"), before && slide);
  slide.addEventListener("input", () => pair.style.setProperty("--cut", `${slide.value}%`));
  const box = dialog(title, pair, more);
  if (before) slide.focus();
  return box;
}
