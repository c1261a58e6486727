"""What is learned: a job becomes a run, a run becomes LoRA files.

From Python: `from trainer import load_job, train_job` (docs/python-api.md). The names are looked up
when they are used, so that importing this package stays light.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.api import resume_run, train_job
    from trainer.core.errors import (
        AdapterError,
        ConfigError,
        DatasetError,
        DivergedError,
        ModelError,
        ProofError,
        ResourceError,
        RunError,
        UserError,
    )
    from trainer.job.config import JobConfig
    from trainer.job.file import load_job, parse_job, render_job
    from trainer.job.layers import file_layer, override_layer, preset_layer, settle
    from trainer.job.preset import load_preset
    from trainer.job.run import Run, runs_in

__all__ = [
    "AdapterError",
    "ConfigError",
    "DatasetError",
    "DivergedError",
    "JobConfig",
    "ModelError",
    "ProofError",
    "ResourceError",
    "Run",
    "RunError",
    "UserError",
    "file_layer",
    "load_job",
    "load_preset",
    "override_layer",
    "parse_job",
    "preset_layer",
    "render_job",
    "resume_run",
    "runs_in",
    "settle",
    "train_job",
]

_HOMES = {
    "JobConfig": "trainer.job.config",
    "Run": "trainer.job.run",
    "file_layer": "trainer.job.layers",
    "load_job": "trainer.job.file",
    "load_preset": "trainer.job.preset",
    "override_layer": "trainer.job.layers",
    "parse_job": "trainer.job.file",
    "preset_layer": "trainer.job.layers",
    "render_job": "trainer.job.file",
    "resume_run": "trainer.api",
    "runs_in": "trainer.job.run",
    "settle": "trainer.job.layers",
    "train_job": "trainer.api",
}
"""Where each public name lives; errors live in `trainer.core.errors`."""

# It warns of a missing package of fast CPU kernels whenever it is imported, used or not.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(_HOMES.get(name, "trainer.core.errors"))
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
