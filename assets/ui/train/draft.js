// What a person typed for a run, kept in this browser until they start afresh.
const KEY = "train-draft", ASIDE = "train-draft-aside";

const read = (key) => {
  try {
    const kept = JSON.parse(localStorage.getItem(key)) ?? {};
    return { own: kept.own && typeof kept.own === "object" ? kept.own : {}, preset: String(kept.preset ?? ""), run: String(kept.run ?? "") };
  } catch { localStorage.removeItem(key); return { own: {}, preset: "", run: "" }; }
};

/** {own: {path: value}, preset, run}: the person's values, and what lies under them. */
export const restored = () => read(KEY);
export const keep = (draft) => localStorage.setItem(KEY, JSON.stringify(draft));
export const forget = () => localStorage.removeItem(KEY);
/** Put the draft aside for another; true when there was something in it. */
export function putAside() {
  const draft = read(KEY);
  if (!Object.keys(draft.own).length) return false;
  localStorage.setItem(ASIDE, JSON.stringify(draft));
  return true;
}
export function takeBack() { keep(read(ASIDE)); localStorage.removeItem(ASIDE); }
