// Captions that were changed and not saved: kept over reloads, with every change undoable.

/** Drafts of one folder. `changed(names)` is called whenever some came, went or differ. */
export class Drafts {
  constructor(folder, changed) {
    this.key = `dataset:${folder}`;
    this.changed = changed;
    this.texts = new Map(); // name -> {text, was}
    this.past = [];
    this.future = [];
    this.kept = true;
    try { for (const [name, draft] of Object.entries(JSON.parse(localStorage.getItem(this.key)) ?? {})) if (typeof draft?.text === "string" && typeof draft?.was === "string") this.texts.set(name, { text: draft.text, was: draft.was }); }
    catch (error) { console.debug(error); }
  }
  get size() { return this.texts.size; }
  has(name) { return this.texts.has(name); }
  text(card) { return this.texts.get(card.name)?.text ?? card.own; }

  /** Change captions together: [[card, text], ...]; one undo takes all of them back. */
  change(pairs) {
    const step = pairs.map(([card, text]) => ({ card, before: this.texts.get(card.name), after: this.draft(card, text) }))
      .filter(({ before, after }) => before?.text !== after?.text);
    if (!step.length) return;
    this.past.push(step);
    this.future = [];
    this.put(step, "after");
  }
  /** While a caption is typed: nothing to undo yet, but a reload keeps it. */
  type(card, text) { this.set(card.name, this.draft(card, text)); this.keepSoon(); this.changed([card.name]); }
  /** What was typed since `before` is one change. */
  typed(card, before) {
    const after = this.texts.get(card.name);
    if (before?.text !== after?.text) { this.past.push([{ card, before, after }]); this.future = []; }
    this.keep();
  }
  draft(card, text) {
    const was = this.texts.get(card.name)?.was ?? card.own;
    return text === was ? undefined : { text, was };
  }
  undo() { const step = this.past.pop(); if (step) { this.future.push(step); this.put(step, "before"); } return step; }
  redo() { const step = this.future.pop(); if (step) { this.past.push(step); this.put(step, "after"); } return step; }
  put(step, which) {
    for (const { card, [which]: draft } of step) this.set(card.name, draft);
    this.keep();
    this.changed(step.map(({ card }) => card.name));
  }
  set(name, draft) { draft ? this.texts.set(name, draft) : this.texts.delete(name); }

  /** The caption on disk is another one now: drafts that say the same are done with. */
  settle(cards) {
    const own = new Map(cards.map((card) => [card.name, card.own]));
    for (const [name, draft] of this.texts) if (own.get(name) === draft.text) this.texts.delete(name);
    this.keep();
  }
  /** Written: their undo steps lead back to a draft again, measured from what is on disk now. */
  saved(names) {
    const texts = new Map();
    for (const name of names) { const draft = this.texts.get(name); if (draft) texts.set(name, draft.text.split(/\r?\n/).map((l) => l.trim()).filter(Boolean).join(" ")); this.texts.delete(name); }
    for (const step of [...this.past, ...this.future]) for (const part of step) {
      if (!texts.has(part.card.name)) continue;
      const was = texts.get(part.card.name);
      for (const which of ["before", "after"]) {
        const text = part[which]?.text ?? part.card.own;
        part[which] = text === was ? undefined : { text, was };
      }
      part.card = { ...part.card, own: was };
    }
    this.keep();
    this.changed(names);
  }
  /** Take these as meant for what is on disk now. */
  rebase(cards) {
    for (const card of cards) { const draft = this.texts.get(card.name); if (draft) this.set(card.name, draft.text === card.own ? undefined : { text: draft.text, was: card.own }); }
    this.keep();
  }
  changes() { return [...this.texts].map(([name, { text, was }]) => ({ name, text, was })); }
  forget(names) { for (const name of names) this.texts.delete(name); this.keep(); this.changed(names); }

  keepSoon() { clearTimeout(this.timer); this.timer = setTimeout(() => this.keep(), 300); }
  keep() {
    clearTimeout(this.timer);
    try {
      if (this.texts.size) localStorage.setItem(this.key, JSON.stringify(Object.fromEntries(this.texts)));
      else localStorage.removeItem(this.key);
      this.kept = true;
    } catch (error) { this.kept = false; console.debug(error); }
  }
}
