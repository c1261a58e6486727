"""What a search found: trials, which setting mattered, and the winner as a preset.

How much a setting mattered is PED-ANOVA's measure (arXiv:2304.10255): how differently the best
tenth to half of the trials are spread over it than all are. With a dozen trials it is a hint.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.search.folder import COPY, Search
from app.search.space import key_of
from trainer.core.files import write_atomically
from trainer.job.preset import About, Preset, of_job
from trainer.job.run import Run

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

ASSETS = Path(__file__).parents[2] / "assets" / "report"
_WIDTH, _HEIGHT, _PAD = 320, 170, 34
_FAR = 30
_FEWEST = 4
"""Trials with a score below which nothing is said of what mattered."""


@dataclass(frozen=True, slots=True)
class Row:
    """A trial.

    Attributes:
        score: Percent by which the loss on held-out pictures falls; None when it has none.
        state: "complete", "pruned", "fail", "running", "waiting".
        kept: What its verdict keeps, in words.
        told: The verdict's headline, or what went wrong.
        run: Its run folder, relative to the search's.
        again: The trial that it repeats with another seed; None when it is no repetition.
        scores: Its own and those of its repetitions.
    """

    number: int
    state: str
    score: float | None
    values: dict[str, Any]
    kept: str
    told: str
    run: str
    again: int | None = None
    scores: tuple[float, ...] = ()

    @property
    def mean(self) -> float | None:
        """Of the scores, percent."""
        return statistics.fmean(self.scores) if self.scores else None


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Attributes:
        best: The row with the highest mean, of those that were repeated if any were; None when no
            trial has a score.
        first: The job as it stood, where the search tried it.
        importance: Setting -> its share of what mattered, the most first; empty when there are
            too few trials, or they score alike.
        whole: How many settings the space holds, where the search tried them all before it had
            its trials; 0 otherwise.
    """

    rows: tuple[Row, ...]
    best: Row | None
    first: Row | None
    importance: dict[str, float]
    whole: int = 0

    @property
    def learned(self) -> bool:
        """Whether the best is better than the base model."""
        return self.best is not None and (self.best.mean or 0.0) > 0


def found(search: Search) -> Found:
    """What a search found so far.

    Raises:
        RunError: The study is gone or damaged.
    """
    study = search.study()
    trials = [trial for trial in study.get_trials(deepcopy=False) if COPY not in trial.user_attrs]
    rows = _with_scores([_row(trial) for trial in trials if trial.state.name != "WAITING"])
    done = [row for row in rows if row.score is not None and row.again is None]
    most = [row for row in done if len(row.scores) > 1] or done
    best = max(most, key=lambda row: row.mean or 0.0, default=None)
    stood = search.space.of(search.job.job)
    first = next((row for row in done if row.values == stood), None)
    return Found(rows, best, first, _importance(trials, done), _whole(search, rows))


def _whole(search: Search, rows: Sequence[Row]) -> int:
    settings = search.space.count()
    tried = {key_of(row.values) for row in rows if row.again is None}
    if settings is None or settings >= search.config.trials or len(tried) < settings:
        return 0
    return settings


def _with_scores(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Each trial with the scores of its repetitions."""
    scores: dict[int, tuple[float, ...]] = {}
    for row in rows:
        if row.score is not None:
            number = row.number if row.again is None else row.again
            scores[number] = (*scores.get(number, ()), row.score)
    return tuple(
        replace(row, scores=scores.get(row.number, ())) if row.again is None else row
        for row in rows
    )


def _row(trial: FrozenTrial) -> Row:
    attrs = trial.user_attrs
    score = trial.value if trial.state.name == "COMPLETE" else None
    run = f"runs/{attrs['run']}" if "run" in attrs else ""
    told = attrs.get("problem") or attrs.get("verdict", "")
    values = attrs.get("values", trial.params)
    state, kept, again = trial.state.name.lower(), attrs.get("kept", ""), attrs.get("again")
    return Row(trial.number, state, score, values, kept, told, run, again)


def _importance(trials: Sequence[FrozenTrial], done: Sequence[Row]) -> dict[str, float]:
    """Repetitions do not count: they are of the best alone."""
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    if len(done) < _FEWEST or len({row.score for row in done}) < 2:
        return {}
    study = optuna.create_study(direction="maximize")
    study.add_trials([trial for trial in trials if "again" not in trial.user_attrs])
    told = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return {path: float(share) for path, share in told.items()}


def headline(told: Found) -> str:
    """What came out, in one or two sentences."""
    if told.best is None or told.best.score is None:
        return "No trial has a score yet."
    whole = f" All {told.whole} settings of the space were tried." if told.whole else ""
    return f"{_best_of(told, told.best)}{whole}"


def _best_of(told: Found, row: Row) -> str:
    if not told.learned:
        return (
            f"No trial learned anything beyond the base model: the best, trial {row.number}, "
            f"lowers the loss on held-out pictures by {_in_percent(row)}."
        )
    said = ", ".join(f"{path} = {shown(value)}" for path, value in row.values.items())
    best = f"Trial {row.number} is best: {said}; the loss on held-out pictures falls by "
    best += f"{_in_percent(row)}, and {row.kept} is kept."
    if told.first is row:
        return f"{best} That is the job as it stood."
    if told.first is None or told.first.score is None:
        return best
    return f"{best} The job as it stood: {_in_percent(told.first)}."


def _in_percent(row: Row) -> str:
    mean = f"{row.mean:.2f}%"
    if len(row.scores) < 2:
        return mean
    return f"{mean} over {len(row.scores)} seeds ({min(row.scores):.2f} to {max(row.scores):.2f})"


def mattered(told: Found) -> str:
    """Which setting mattered, in one sentence."""
    if not told.importance:
        return "Too few trials have a score to say which setting mattered."
    shares = ", ".join(f"{path} {share:.0%}" for path, share in told.importance.items())
    return f"What mattered (PED-ANOVA; a hint with so few trials): {shares}."


def winner(search: Search, told: Found, name: str) -> Preset | None:
    """The best trial's job as a preset; None when no trial is better than the base model."""
    if told.best is None or not told.learned:
        return None
    run = Run.open(search.path / told.best.run)
    about = About(
        name=name,
        sentence=f"The best of {_tried(told)} trials of {search.path.name}.",
        tested=headline(told)[:600],
        tags=(run.job.model.kind, "search"),
    )
    return of_job(run.job, about)


def _tried(told: Found) -> int:
    return sum(row.again is None for row in told.rows)


def write(search: Search) -> Path:
    """Write report.html and trials.json; the page's path.

    Raises:
        RunError: The study is gone or damaged.
        ResourceError: The folder cannot be written.
    """
    import jinja2

    told = found(search)
    facts = {
        "headline": headline(told),
        "mattered": mattered(told),
        "importance": told.importance,
        "trials": [asdict(row) for row in told.rows],
    }
    write_atomically(search.path / "trials.json", json.dumps(facts, indent=1, ensure_ascii=False))
    loader = jinja2.FileSystemLoader(ASSETS)
    page = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True)
    text = page.get_template("search.html.j2").render(
        **facts,
        name=search.path.name,
        paths=[axis.path for axis in search.space.axes],
        plots=[_plot(axis.path, told) for axis in search.space.axes],
        shown=shown,
        report=lambda row: _report(search, row),
        best=told.best.number if told.best and told.learned else None,
    )
    path = search.path / "report.html"
    write_atomically(path, text)
    return path


def _report(search: Search, row: dict[str, Any]) -> str:
    """The trial's own report, relative to the search's folder; empty when there is none."""
    pages = sorted((search.path / row["run"]).glob("analysis/*/report.html")) if row["run"] else []
    return pages[-1].relative_to(search.path).as_posix() if pages else ""


def _plot(path: str, told: Found) -> dict[str, Any]:
    """A setting's values against scores, as places in px of a small picture."""
    scored = [row for row in told.rows if row.score is not None and row.again is None]
    done = [row for row in scored if path in row.values]
    values = [row.values[path] for row in done]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    names: list[Any] = sorted(set(values)) if numbers else list(dict.fromkeys(map(str, values)))
    xs = (
        _places(values, names)
        if numbers
        else [(names.index(str(v)) + 0.5) / len(names) for v in values]
    )
    scores = _scale([row.score or 0.0 for row in done])
    dots = [
        {
            "x": _PAD + x * (_WIDTH - 2 * _PAD),
            "y": _HEIGHT - _PAD - scores(row.score or 0.0) * (_HEIGHT - 2 * _PAD),
            "row": row,
        }
        for row, x in zip(done, xs, strict=True)
    ]
    ends = [names[0], names[-1]] if names else []
    marks = [row.score or 0.0 for row in done]
    return {
        "path": path,
        "dots": dots,
        "ends": [shown(end) for end in (ends if numbers else [])],
        "names": [] if numbers else names,
        "scores": [min(marks, default=0.0), max(marks, default=0.0)],
    }


def _places(values: Sequence[Any], names: Sequence[Any]) -> list[float]:
    """Numbers from 0 to 1, by their logarithms where they reach far."""
    wide = len(names) > 1 and names[0] > 0 and names[-1] / names[0] > _FAR
    numbers = [math.log10(value) if wide else float(value) for value in values]
    place = _scale(numbers)
    return [place(number) for number in numbers]


def _scale(values: Sequence[float]) -> Any:
    low, high = min(values, default=0.0), max(values, default=1.0)
    return lambda value: (value - low) / (high - low) if high > low else 0.5


def shown(value: Any) -> str:
    """A value as people read it."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
