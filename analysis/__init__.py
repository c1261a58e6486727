"""What is measured: sweeps, renders, scores, verdicts, reports.

From Python: `from analysis import analyse_run` (docs/python-api.md). The names are looked up when
they are used, so that importing this package stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.api import Analysis, Choice, analyse_run, resume_analysis, sample_grid

__all__ = ["Analysis", "Choice", "analyse_run", "resume_analysis", "sample_grid"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from analysis import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
