"""What another rule would have chosen, from report.json alone: nothing is rendered or measured.

The model's own judgements are kept in the report as means only, so the rules that ask them cannot
be tried here; `analyse` with another rule can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis import words
from analysis.ranking import rank
from analysis.report_file import key
from analysis.table import Column, Prompt, Setting, Table
from analysis.vetoes import Facts, Rules
from trainer.core.errors import ConfigError

if TYPE_CHECKING:
    from analysis.report_file import Control, Told
    from analysis.table import Array

RULES = ("ancestor", "weights")
"""What can be tried on a report."""


def reranked(told: Told, rule: str, weights: Mapping[str, float]) -> dict[str, Any]:
    """The verdict by another rule, as report.json holds one.

    Args:
        told: The report.
        rule: One of `RULES`.
        weights: By metric, for rule "weights".

    Raises:
        ConfigError: The rule cannot be tried, or a metric was not measured.
    """
    if rule not in RULES:
        raise ConfigError(
            f"rule {rule!r} cannot be tried on a report",
            where="analysis.rule",
            hint=f"one of {', '.join(RULES)}",
        )
    table = table_of(told)
    for name in weights:
        if name not in table.columns:
            raise ConfigError(
                f"no picture has a number of {name!r}",
                where="analysis.weights",
                hint=f"one of {', '.join(table.columns)}",
            )
    facts = [Facts(m["name"], m["axis"], m["better"], m["counts"]) for m in told["metrics"]]
    facts = [fact for fact in facts if fact.name in table.columns]
    found = rank(table, facts, Rules(rule, weights=weights), {})
    labels = {c["epoch"]: c["label"] for c in told["checkpoints"]}
    return words.told(
        table, found, rule, [dict(copy) for copy in told["verdict"]["copies"]], labels
    )


def table_of(told: Told) -> Table:
    """The numbers of the pictures, without the model's own judgements."""
    settings = tuple(sorted(Setting(*key(one)) for one in told["summary"]))
    shape = (len(told["prompts"]), len(told["seeds"]))
    index = {setting: number for number, setting in enumerate(settings)}
    names = [m["name"] for m in told["metrics"] if _has_numbers(told["cells"], m["name"])]
    columns: dict[str, Column] = {}
    for name in names:
        values = np.full((len(settings), *shape), np.nan)
        for cell in told["cells"]:
            place = index.get(Setting(*key(cell)))
            if place is not None:
                values[place, cell["prompt"], cell["seed"]] = _number(cell, name)
        control = np.full(shape, np.nan)
        for one in told["controls"]:
            control[one["prompt"], one["seed"]] = _number(one, name)
        columns[name] = Column(values, control, _own(told, name, values, index))
    prompts = tuple(
        Prompt(p["text"], "plain" if p["kind"] == "plain" else "trigger") for p in told["prompts"]
    )
    return Table(settings, prompts, tuple(told["seeds"]), columns, {})


def _own(told: Told, name: str, values: Array, index: Mapping[Setting, int]) -> Array | None:
    """The controls' numbers where settings have controls of their own."""
    if not any("control" in cell for cell in told["cells"]):
        return None
    own = np.full(values.shape, np.nan)
    for cell in told["cells"]:
        place = index.get(Setting(*key(cell)))
        if place is not None and "control" in cell:
            found = cell["control"]["scores"].get(name)
            own[place, cell["prompt"], cell["seed"]] = np.nan if found is None else found
    return own


def _has_numbers(cells: Sequence[Control], name: str) -> bool:
    return any(cell["scores"].get(name) is not None for cell in cells)


def _number(one: Control, name: str) -> float:
    found = one["scores"].get(name)
    return float("nan") if found is None else found
