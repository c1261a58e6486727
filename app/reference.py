"""The reference, drawn from the code: `python -m app.reference` writes its files.

`docs/settings.md`, `metrics.md`, `presets.md` and `importing.md` are for people, `job.schema.json`
for editors that complete TOML. Knows no setting, no metric and no preset by name.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from analysis.judgements.base import judgements
from analysis.metrics.base import metrics
from app import importing_page, presets_page
from trainer.core.files import write_atomically
from trainer.core.schema import FieldSpec, describe
from trainer.families.base import ModelConfig, families
from trainer.job.config import JobConfig

DOCS = Path(__file__).resolve().parents[1] / "docs"
KINDS = {
    "flag": "true or false",
    "whole": "whole number",
    "real": "number",
    "text": "text",
    "path": "path",
    "choice": "one of",
    "list": "list of texts",
}
HEAD = """\
# Settings

Everything that a job can say. A job is a TOML file; on the command line any setting is
`--set path=value`. Settings marked *advanced* are folded away in the app. Settings marked
*personal* (paths, prompts, what is trained) do not go into a preset. This page is written by
`python -m app.reference`.
"""
METRICS_HEAD = """\
# Metrics

What an analysis measures, and when not to believe it. `analysis.metrics` lists those that are
asked for; settings follow a colon: `clip_i: weights=/models/clip`, `pyiqa: name=niqe`. What is
absent (weights, a package) is left out with one sentence. *Learned* tells how much the LoRA
learned, *quality* may rule a setting out, *aside* is told beside them. All are read as
differences to the base model's picture of the same prompt and seed
(docs/decisions/0016-choosing.md says how a choice comes of them). Mirroring a photo alone moves
BRISQUE by 3 to 11 points (RMS over five photos of each of three things), which is why the mean
over both is taken and why only 5 points more than the base model's count. This page is written by
`python -m app.reference`.
"""
JUDGED_HEAD = """\
## What the model itself is asked

Its loss, with the same noises and timesteps for every epoch and strength.
"""


def render() -> str:
    """The page, as Markdown."""
    groups = itertools.groupby(describe(JobConfig), key=_heading)
    return "\n".join([HEAD, *(_section(name, specs) for name, specs in groups)])


def render_schema() -> str:
    """The JSON schema of a job file."""
    return json.dumps(JobConfig.model_json_schema(), indent=2) + "\n"


def render_metrics() -> str:
    """The page of metrics, as Markdown."""
    told = [_metric(name, metrics[name]) for name in metrics]
    judged = [_metric(name, judgements[name]) for name in judgements]
    return "\n".join([METRICS_HEAD, *told, JUDGED_HEAD, *judged])


def _metric(name: str, kind: Any) -> str:
    """A metric's, or judgement's, section."""
    facts = [f"*{kind.axis}*"]
    if hasattr(kind, "limits"):
        low, high = kind.limits
        facts += [f"{kind.better} is better" if kind.better != "neither" else "no merit"]
        facts += [f"from {'any' if low is None else low} to {'any' if high is None else high}"]
        facts += [f"prompts: {kind.counts}"]
        facts += [f"needs: {', '.join(sorted(kind.needs)) or 'nothing else'}"]
    settings = [spec for spec in describe(kind) if spec.path != "kind"]
    rows = "\n".join(map(_row, settings))
    head = "| Setting | Values | Default | What it does |\n|---|---|---|---|\n"
    table = f"\n{head}{rows}\n" if rows else ""
    return (
        f"## `{name}`: {kind.title}\n\n{'; '.join(facts)}.\n\n{_line(kind.meaning)}\n\n"
        f"*When not to believe it:* {_line(kind.distrust)}\n{table}"
    )


def main() -> None:
    """Write all files."""
    write_atomically(DOCS / "importing.md", importing_page.render())
    write_atomically(DOCS / "metrics.md", render_metrics())
    write_atomically(DOCS / "presets.md", presets_page.render())
    write_atomically(DOCS / "settings.md", render())
    write_atomically(DOCS / "job.schema.json", render_schema())


def _heading(spec: FieldSpec) -> str:
    """The table a setting stands in: its section, and the plug-in it belongs to."""
    section = spec.group if "." in spec.path else "job"
    return f"{section} · {spec.only_if[1]}" if spec.only_if else section


def _section(name: str, specs: Iterable[FieldSpec]) -> str:
    rows = "\n".join(map(_row, specs))
    section, _, kind = name.partition(" · ")
    told = _of_family(families[kind]) if section == "model" and kind else ""
    head = "| Setting | Values | Default | What it does |\n|---|---|---|---|"
    return f"## {name}\n\n{told}{head}\n{rows}\n"


def _of_family(family: type[ModelConfig]) -> str:
    """What a family's settings leave to its models."""
    negative = "" if family.contrasts else ", and without a negative prompt"
    return f"Rendered with guidance {family.usual_guidance:g} unless told otherwise{negative}.\n\n"


def _row(spec: FieldSpec) -> str:
    personal = spec.knob.private or not spec.knob.recipe
    flags = {"advanced": spec.knob.advanced, "personal": personal}
    marks = [mark for mark, holds in flags.items() if holds]
    name = f"`{spec.path}`" + (f"<br>*{', '.join(marks)}*" if marks else "")
    why = f"<br>*Why this default:* {_line(spec.knob.why)}" if spec.knob.why else ""
    cells = (name, _values(spec), _default(spec), _line(spec.help) + why)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _values(spec: FieldSpec) -> str:
    if spec.kind == "choice":
        return ", ".join(f"`{choice}`" for choice in spec.choices)
    bounds = _bounds(spec.low, spec.high)
    unit = f" {spec.knob.unit}" if spec.knob.unit else ""
    optional = ", or nothing" if spec.optional else ""
    return f"{KINDS[spec.kind]}{bounds}{unit}{optional}"


def _bounds(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f", {low:,} to {high:,}"
    if low is not None:
        return f", from {low:,}"
    return "" if high is None else f", to {high:,}"


def _default(spec: FieldSpec) -> str:
    if spec.required:
        return "*required*"
    if spec.default in (None, "", ()):
        return "nothing"
    if isinstance(spec.default, bool):
        return f"`{str(spec.default).lower()}`"
    if isinstance(spec.default, Path):
        return f"`{spec.default.as_posix()}`"
    return f"`{spec.default}`"


def _line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    main()
