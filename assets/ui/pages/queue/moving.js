// Moving jobs: dragged by their handle, or by Alt and the arrow keys.

export function movable(list, base, moved) {
  let dragged = null, over = null, side = "before";
  const jobOf = (element) => base.jobs().find((job) => String(job.job) === element?.closest("li")?.dataset.job);
  const clear = () => { over?.classList.remove("before", "after"); over = null; };

  list.addEventListener("dragstart", (event) => {
    const row = event.target.closest?.("li");
    if (!row) return;
    dragged = jobOf(row);
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", dragged?.name ?? "");
    event.dataTransfer.setDragImage(row, 12, 16);
    row.classList.add("dragged");
    base.element.dataset.dragging = "yes";
  });
  list.addEventListener("dragover", (event) => {
    const row = event.target.closest?.("li");
    if (!dragged || !row) return;
    event.preventDefault();
    clear();
    const box = row.getBoundingClientRect();
    side = event.clientY < box.top + box.height / 2 ? "before" : "after";
    over = row;
    row.classList.add(side);
  });
  list.addEventListener("drop", async (event) => {
    const other = jobOf(over), job = dragged;
    if (!job) return;
    event.preventDefault();
    end();
    if (other && other.job !== job.job) await moved(job, side, { other: other.job });
  });
  list.addEventListener("dragend", () => { if (dragged) { end(); base.load(); } });
  function end() {
    list.querySelector(".dragged")?.classList.remove("dragged");
    clear();
    dragged = null;
    delete base.element.dataset.dragging;
  }

  list.addEventListener("keydown", (event) => {
    const how = { ArrowUp: "up", ArrowDown: "down", Home: "first", End: "last" }[event.key];
    const job = jobOf(event.target);
    if (!event.altKey || !how || !job) return;
    event.preventDefault();
    moved(job, how);
  });
}
