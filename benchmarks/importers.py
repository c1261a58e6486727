"""How much of real settings files the importers know: counts per file and trainer.

    python -m benchmarks.importers FOLDER

A folder of other trainers' examples is looked through; nothing of it is kept. Each file's keys
must add up to its account, and its values must make a job once it has a folder of pictures.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from trainer.core.errors import ConfigError
from trainer.job.file import merge, parse_job
from trainer.job.importers.account import KINDS, Imported
from trainer.job.importers.base import import_config

_SUFFIXES = {".json", ".toml", ".yaml", ".yml", ".safetensors"}
_WITHOUT_PICTURES = {"dataset": {"folder": "pictures"}}


def main(folder: Path) -> None:
    """Print a line for each file, then a table."""
    totals: dict[str, Counter[str]] = {}
    unknown: Counter[str] = Counter()
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES):
        try:
            found = import_config(path)
        except ConfigError as error:
            print(f"-       {path.relative_to(folder)}: {error.problem[:90]}")
            continue
        total = totals.setdefault(found.trainer, Counter())
        total.update({"files": 1, "keys": len(found.account), **found.counts})
        total["another model"] += "model.kind" in found.problems
        total["no job"] += not _makes_a_job(found)
        unknown.update(line.key for line in found.account if line.kind == "reported")
        counts = "/".join(str(found.counts[kind]) for kind in KINDS)
        print(f"{counts:<16}{path.relative_to(folder)}")
    columns = ["files", "keys", *KINDS, "another model", "no job"]
    print("\n" + " | ".join(["trainer", *columns]))
    for trainer, total in totals.items():
        print(" | ".join([trainer, *(str(total[name]) for name in columns)]))
    if unknown:
        print("unknown:", ", ".join(f"{key} ({count})" for key, count in unknown.most_common(20)))


def _makes_a_job(found: Imported) -> bool:
    try:
        parse_job(merge(_WITHOUT_PICTURES, found.job_values))
    except ConfigError as error:
        print(f"        no job: {error}")
        return False
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]))
