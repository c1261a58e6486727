// What a run told: the story it was opened with, and every event since. Of steps that a resumed run
// tells again the later telling counts. It draws nothing.

export class Tale {
  constructor(story) {
    const { curve, latest, listed } = story;
    this.position = story.position;
    this.points = { step: curve.step, loss: curve.loss, mean: curve.mean, rate: curve.rate, span: curve.span };
    this.seconds = story.seconds;
    this.latest = latest;
    this.checks = new Map((listed.Validated ?? []).map((e) => [e.step, e.loss]));
    this.samples = new Map((listed.Sampled ?? []).map((e) => [e.path, e]));
    this.saved = new Map((listed.Saved ?? []).map((e) => [e.path, e]));
    this.proven = new Map((listed.Proven ?? []).map((e) => [e.path, e]));
    this.warnings = new Map((listed.Warned ?? []).map((e) => [e.message, e]));
  }

  /** Take an event in; returns what there is to draw anew: "curve", "samples", "files", "words" or nothing. */
  take(event) {
    switch (event.kind) {
      case "Stepped": return this.#step(event);
      case "Started": this.#forgetAfter(event.resumed_from); this.latest.Started = event; delete this.latest.Ended; return "curve";
      case "Validated": this.checks.set(event.step, event.loss); return "curve";
      case "Sampled": this.samples.set(event.path, event); return "samples";
      case "Saved": this.saved.set(event.path, event); return "files";
      case "Proven": this.proven.set(event.path, event); return "words";
      case "Warned": this.warnings.set(event.message, event); return "words";
      default: this.latest[event.kind] = event; return event.kind === "Planned" || event.kind === "Ended" ? "words" : "";
    }
  }

  #step(event) {
    const { step, loss, mean, rate, span } = this.points;
    if (step.length && event.step <= step.at(-1)) this.#forgetAfter(event.step - 1);
    step.push(event.step); loss.push(event.loss); mean.push(event.loss); rate.push(event.rate); span.push(1);
    for (const [phase, took] of Object.entries(event.seconds)) this.seconds[phase] = (this.seconds[phase] ?? 0) + took;
    return "curve";
  }

  #forgetAfter(step) {
    const columns = Object.values(this.points);
    while (this.points.step.length && this.points.step.at(-1) > step) for (const column of columns) column.pop();
    for (const known of [...this.checks.keys()]) if (known > step) this.checks.delete(known);
  }
}

/** A running mean that starts without a bias; `span` is how many steps a point stands for. */
export function smoothed(means, spans, share) {
  let held = 0, weight = 0;
  return means.map((value, n) => {
    if (value === null) return null;
    const kept = share ** spans[n];
    held = kept * held + (1 - kept) * value;
    weight = kept * weight + (1 - kept);
    return held / weight;
  });
}

/** Points of a curve and those of another with other steps, as columns of one length for a chart: [xs, ...first, second]. */
export function merged(steps, columns, others) {
  const marks = [...others].sort((a, b) => a[0] - b[0]);
  const xs = [], first = columns.map(() => []), second = [];
  let m = 0;
  const put = (x, n, mark) => { xs.push(x); first.forEach((column, c) => column.push(n === null ? null : columns[c][n])); second.push(mark); };
  steps.forEach((step, n) => {
    while (m < marks.length && marks[m][0] < step) put(marks[m][0], null, marks[m++][1]);
    put(step, n, m < marks.length && marks[m][0] === step ? marks[m++][1] : null);
  });
  while (m < marks.length) put(marks[m][0], null, marks[m++][1]);
  return [xs, ...first, second];
}

/** Where most of the values lie: without the lowest and the highest hundredth. */
export function most(values) {
  const sorted = values.filter((v) => v !== null && isFinite(v)).sort((a, b) => a - b);
  if (sorted.length < 8) return null;
  const low = sorted[Math.floor(0.01 * (sorted.length - 1))], high = sorted[Math.ceil(0.98 * (sorted.length - 1))];
  const room = 0.06 * (high - low || Math.abs(high) || 1);
  return [low > 0 ? Math.max(low - room, low / 2) : low - room, high + room];
}

/** How curves are shown, kept by this browser. */
export const look = {
  get: () => ({ smooth: 0.9, log: false, clip: true, ...JSON.parse(localStorage.getItem("runs.look") ?? "{}") }),
  set: (changes) => localStorage.setItem("runs.look", JSON.stringify({ ...look.get(), ...changes })),
};
