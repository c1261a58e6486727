"""Whether a search of twelve short trials finds more than the preset it starts from.

    python benchmarks/search_demo.py FOLDER [--kind style] [--trials 12] [--steps 120]

It searches on the demo's pictures from the demo preset, all trials with the same seed; then trains
the preset and the winner with three other seeds, as long as a trial, and prints the score of each:
by how much, in percent, the loss on held-out pictures falls (docs/search.md).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from app.search.trial import score_of

ROOT = Path(__file__).resolve().parents[1]
SEEDS = (101, 102, 103)
SPACE = (
    "optimizer.learning_rate=2e-4:1e-2:log",
    "adapter.rank=4,8,16,32",
    "adapter.alpha== adapter.rank",
    "adapter.targets=attention,linear+conv",
)


def main() -> None:
    """Search, train again, print."""
    asked = arguments()
    job = settings(asked.kind, asked.steps)
    preset = f"sd-{asked.kind}-demo"
    varied = [word for space in SPACE for word in ("--vary", space)]
    told = sweetspot(
        *("search", "--preset", preset, *job, "--set", f"runs={quoted(asked.folder)}"),
        *varied,
        *("--trials", str(asked.trials), "--keep", "search-demo-winner"),
        home=asked.folder / "home",
    )
    print(told, flush=True)
    scores: dict[str, list[float]] = {}
    for name in (preset, "search-demo-winner"):
        for seed in SEEDS:
            score = one(name, job, seed, asked.folder)
            scores.setdefault(name, []).append(score)
            print(f"{name:<22} seed {seed}  {score:6.2f} %", flush=True)
    for name, found in scores.items():
        print(f"{name:<22} mean of {len(found)}  {statistics.mean(found):6.2f} %")


def arguments() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a new folder for everything")
    parser.add_argument("--kind", choices=("style", "subject"), default="style")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--steps", type=int, default=120)
    asked = parser.parse_args()
    asked.folder = asked.folder.absolute()
    return asked


def settings(kind: str, steps: int) -> list[str]:
    """The demo's pictures, a short run, and few pictures to judge it by."""
    demo = ROOT / "assets" / "demo"
    said = [
        f"name=search-{kind}",
        "model.base=demo",
        f"dataset.folder={quoted(demo / kind)}",
        f"schedule.steps={steps}",
        "save.files=3",
        "samples.every=0",
        "prior.enabled=false",
        "analysis.strengths=[0.7, 1.0]",
        "analysis.seeds=2",
        "analysis.fine=false",
        "analysis.draws=16",
    ]
    if kind == "style":
        said += [f"validation.folder={quoted(demo / 'style-held-out')}", "validation.every=10"]
    else:
        said += ["dataset.class_word=cat face", "validation.share=0.3"]
    return [word for one in said for word in ("--set", one)]


def one(preset: str, job: list[str], seed: int, folder: Path) -> float:
    """The score of one run of the preset."""
    runs = folder / "again" / preset / str(seed)
    where = ("--runs", str(runs))
    seeded = ("--set", f"schedule.seed={seed}")
    home = folder / "home"
    sweetspot("train", "--preset", preset, *job, *seeded, *where, home=home)
    (run,) = (path.parent for path in runs.glob("*/job.toml"))
    sweetspot("analyse", str(run), home=home)
    (report,) = run.glob("analysis/*/report.json")
    return score_of(json.loads(report.read_text(encoding="utf-8")))[0]


def sweetspot(*words: str, home: Path) -> str:
    """What the command line prints."""
    import os

    done = subprocess.run(
        [sys.executable, "-m", "app", *words],
        cwd=ROOT,
        env={**os.environ, "SWEETSPOT_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 10):
        raise SystemExit(f"{' '.join(words)}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def quoted(path: Path) -> str:
    """A path as an override takes it."""
    return json.dumps(str(path))


if __name__ == "__main__":
    main()
