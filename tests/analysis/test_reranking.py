"""Another rule on a report's numbers comes to what it would have come to on the sweep's own."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.findings import Findings, Spot, as_dict
from analysis.ranking import rank
from analysis.reranking import reranked, table_of
from analysis.summary import summary
from analysis.vetoes import Rules
from analysis.words import told
from tests.analysis.tables import FACTS, sweep
from trainer.core.errors import ConfigError


def report_of(table):
    """The table as report.json holds it."""
    shots = [(p, k) for p in range(len(table.prompts)) for k in range(len(table.seeds))]
    metrics = [
        {"name": f.name, "title": f.name, "axis": f.axis, "better": f.better, "counts": f.counts}
        for f in FACTS
    ]
    found = rank(table, FACTS, Rules(), {})
    return as_dict(
        Findings(
            made="2026-11-26T14:00:00+00:00",
            title="a sweep",
            source={"kind": "run", "name": "a sweep"},
            recipe={},
            versions={},
            checkpoints=[
                {"epoch": e, "label": f"epoch {e}"} for e in {s.epoch for s in table.settings}
            ],
            metrics=metrics,
            table=table,
            spots={(s, *at): Spot("x.png") for s in range(len(table.settings)) for at in shots},
            verdict=told(table, found, "sweetspot", []),
            summary=summary(table),
            references={},
        )
    )


def test_a_report_gives_back_the_table_it_was_made_of():
    table, _ = sweep(3)
    again = table_of(report_of(table))
    assert (again.settings, again.prompts, again.seeds) == (
        table.settings,
        table.prompts,
        table.seeds,
    )
    for name, column in table.columns.items():
        np.testing.assert_array_equal(again.columns[name].values, column.values)
        np.testing.assert_array_equal(again.columns[name].control, column.control)


@pytest.mark.parametrize(
    ("rule", "weights"), [("ancestor", {}), ("weights", {"fidelity": 2.0, "brisque": 1.0})]
)
def test_another_rule_chooses_as_it_would_have(rule, weights):
    table, _ = sweep(5)
    found = rank(table, FACTS, Rules(rule, weights=weights), {})
    verdict = reranked(report_of(table), rule, weights)
    assert verdict["choice"] == table.settings[found.choice]._asdict()
    assert verdict["rule"] == rule


@pytest.mark.parametrize(
    ("rule", "weights", "said"),
    [
        ("sweetspot", {}, "cannot be tried on a report"),
        ("weights", {"clip_i": 1.0}, "no picture has a number of 'clip_i'"),
    ],
)
def test_what_a_report_cannot_tell_is_refused(rule, weights, said):
    table, _ = sweep(5)
    with pytest.raises(ConfigError, match=said):
        reranked(report_of(table), rule, weights)
