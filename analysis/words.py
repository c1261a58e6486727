"""A ranking in words: the choice, how sure, why, and what its neighbours would trade.

No sentence says what was not measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.safe import safe_strengths
from analysis.vetoes import counted

if TYPE_CHECKING:
    from analysis.ranking import Ranking
    from analysis.table import Setting, Table

ENOUGH_PROMPTS = 4
ENOUGH_SEEDS = 2

_CALLED = {
    "fidelity": "likeness to the pictures of what was trained",
    "clip_i": "CLIP's likeness to the pictures of what was trained",
    "dinov2": "DINOv2's likeness to the pictures of what was trained",
    "moved": "distance from the base model's pictures",
}


def told(
    table: Table,
    found: Ranking,
    rule: str,
    copies: Sequence[Mapping[str, Any]],
    labels: Mapping[int, str] | None = None,
) -> dict[str, Any]:
    """The verdict as report.json holds it.

    Args:
        table: What was ranked.
        found: What came out.
        rule: By what rule.
        copies: Pictures that are copies, as report.json lists them.
        labels: What epochs are called, where files of any name stand for them.
    """
    settings = table.settings
    choice = None if found.choice is None else settings[found.choice]
    named = [] if choice is None else _named(choice, labels or {})
    against = found.contest
    smallest = against.smallest if against else np.inf
    chance = [] if against is None else zip(found.field, against.chance, strict=True)
    return {
        "rule": rule,
        "state": found.state,
        "choice": None if choice is None else choice._asdict(),
        "headline": headline(table, found),
        "sentences": [*named, *sentences(table, found, copies)],
        "tied": [settings[i]._asdict() for i in found.tied],
        "vetoed": [
            {**settings[i]._asdict(), "reasons": list(reasons)}
            for i, reasons in sorted(found.vetoes.items())
        ],
        "chance": [{**settings[i]._asdict(), "p": float(p)} for i, p in chance],
        "thin": thin(table),
        "smallest_difference": smallest if np.isfinite(smallest) else None,
        "overtrained_from": found.overtrained_from,
        "trained": found.trained,
        "copies": [dict(copy) for copy in copies],
        "safe_strengths": [
            {"epoch": epoch, "low": low, "high": high}
            for epoch, (low, high) in safe_strengths(table, found).items()
        ],
        "learned_metric": found.learned or None,
    }


def headline(table: Table, found: Ranking) -> str:
    """The verdict in one sentence."""
    match found.state:
        case "nothing scored":
            return "Nothing could be scored, so there is no choice."
        case "nothing learned" if found.moved:
            return (
                "No gain is sure: the pictures moved from the base model's, but not surely towards "
                "what was trained."
            )
        case "nothing learned":
            return "Nothing was learned: the pictures are those of the base model."
        case "nothing safe":
            return "Every setting that learned something spoils its pictures; none is safe to keep."
    assert found.choice is not None
    name = called(table.settings[found.choice])
    return _kept(table, found, name)


def _kept(table: Table, found: Ranking, name: str) -> str:
    """What is kept, and how sure that is."""
    if found.contest is None:
        return f"Keep {name}."
    others = len(found.tied) - 1
    if found.state == "cannot tell apart":
        left = "settings that the race did not leave behind" if table.dropped else "settings"
        return (
            f"These pictures cannot tell the {others + 1} {left} apart; of equals, {name} is the "
            "earliest and gentlest."
        )
    if not others:
        why = "it learned surely more than every other setting that holds its quality"
        if len(found.field) == 1:
            why = "no other setting surely learned something and holds its quality"
        if len(table.settings) == 1:
            why = "there is no other setting to compare it with"
        return f"Keep {name}: {why}."
    more = "one other setting" if others == 1 else f"{others} other settings"
    return f"Keep {name}; {more} cannot be told apart from it, and it is the earliest and gentlest."


def called(setting: Setting) -> str:
    """A setting in words; pictures without an epoch have none."""
    if not setting.epoch:
        return f"strength {setting.strength:g}"
    return f"epoch {setting.epoch} at strength {setting.strength:g}"


def thin(table: Table) -> str:
    """A sentence when there is too little to go by."""
    prompts = sum(prompt.kind == "trigger" for prompt in table.prompts)
    if prompts >= ENOUGH_PROMPTS and len(table.seeds) >= ENOUGH_SEEDS:
        return ""
    return (
        f"The evidence is thin: {_count(prompts, 'prompt')}, {_count(len(table.seeds), 'seed')}; "
        f"with at least {ENOUGH_PROMPTS} and {ENOUGH_SEEDS} the intervals mean more."
    )


def sentences(table: Table, found: Ranking, copies: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why, what neighbours trade, how long was trained, what is safe, what to try."""
    if found.state == "nothing scored":
        return list(found.said)
    some = [
        *found.said,
        *_why(table, found),
        *_least_bad(table, found),
        *_neighbours(table, found),
        *_length(table, found),
        *_safe(table, found),
        *_leaked(table, found),
        *_copied(copies),
        *_next(table, found),
    ]
    return [sentence for sentence in some if sentence]


def _named(choice: Setting, labels: Mapping[int, str]) -> list[str]:
    """Which file an epoch is, where its place among the files is all that makes it one."""
    label = labels.get(choice.epoch, "")
    known = not label or label == f"epoch {choice.epoch}"
    return [] if known else [f"Epoch {choice.epoch} is {label}."]


def _why(table: Table, found: Ranking) -> list[str]:
    if found.learned not in _CALLED or found.gain is None:
        alone = found.learned not in ("", "weights")
        return [f"The rule looked at {found.learned} alone."] if alone else []
    words = []
    if found.choice is not None:
        words.append(_gained(found, found.choice))
    if found.vetoes:
        words.append(f"{len(found.vetoes)} of {len(table.settings)} settings are ruled out.")
    if found.contest is not None and 0 < found.contest.smallest < np.inf:
        words.append(
            "The smallest difference that these pictures could have shown is "
            f"{found.contest.smallest:.3f}."
        )
    if found.state == "nothing learned":
        most = float(np.nanmax(found.gain.mean))
        words.append(f"The largest gain in {_CALLED[found.learned]} is {most:.3f}.")
    return words


def _least_bad(table: Table, found: Ranking) -> list[str]:
    """When all that learned is ruled out: the one with the fewest reasons against it."""
    if found.state != "nothing safe" or found.gain is None:
        return []
    gain = found.gain.mean
    least = min(
        np.flatnonzero(found.real), key=lambda i: (len(found.vetoes[int(i)]), -float(gain[i]))
    )
    reasons = "; ".join(found.vetoes[int(least)])
    return [f"The least bad is {called(table.settings[int(least)])}: {reasons}."]


def _gained(found: Ranking, index: int) -> str:
    assert found.gain is not None
    mean, low, high = (float(v[index]) for v in (found.gain.mean, found.gain.low, found.gain.high))
    what = f"Its {_CALLED[found.learned]} is {mean:.3f}"
    if found.learned != "moved":
        what += " above the base model's"
    if not np.isfinite(low):
        return f"{what}; how sure that is, one picture cannot say."
    return f"{what} (95% interval {low:.3f} to {high:.3f}, all settings together)."


def _neighbours(table: Table, found: Ranking) -> list[str]:
    """What the settings next to the choice would trade."""
    if found.choice is None or found.gain is None:
        return []
    chosen = table.settings[found.choice]
    index = {setting: i for i, setting in enumerate(table.settings)}
    same = sorted(s for s in table.settings if s.epoch == chosen.epoch)
    alike = sorted(s for s in table.settings if s.strength == chosen.strength)
    traded, ruled_out = [], []
    for row in (same, alike):
        place = row.index(chosen)
        for other in (*row[max(0, place - 1) : place], *row[place + 1 : place + 2]):
            name = f"strength {other.strength:g}" if row is same else f"epoch {other.epoch}"
            reasons = found.vetoes.get(index[other])
            change = float(found.gain.mean[index[other]] - found.gain.mean[found.choice])
            if reasons:
                ruled_out.append(f"{name.capitalize()} is ruled out: {'; '.join(reasons)}.")
            elif np.isfinite(change):
                more = "more" if change > 0 else "less"
                traded.append(f"{abs(change):.3f} {more} at {name}")
    told = [f"Its neighbours have {', '.join(traded)}."] if traded else []
    return told + ruled_out


def _length(table: Table, found: Ranking) -> list[str]:
    epochs = sorted({setting.epoch for setting in table.settings})
    match found.trained:
        case "too long" if found.peak is not None:
            return [
                f"Training was too long: at strengths near 1 epoch {found.peak} has surely learned "
                f"more than epoch {epochs[-1]}, the last."
            ]
        case "too long":
            from_then = f"overtrained from epoch {found.overtrained_from} on"
            return [f"At strengths near 1 the run is {from_then}."]
        case "too short":
            return [
                f"Training was too short: epoch {epochs[-1]}, the last, is still surely better "
                "than the one before."
            ]
        case "right" if len(epochs) > 1:
            return ["The length of training was right: the last epochs neither gain nor spoil."]
    return []


def _safe(table: Table, found: Ranking) -> list[str]:
    if found.choice is None:
        return []
    epoch = table.settings[found.choice].epoch
    safe = safe_strengths(table, found).get(epoch)
    if safe is None:
        return []
    who = f"Epoch {epoch}" if epoch else "It"
    return [f"{who} acts and holds its quality from strength {safe[0]:g} to {safe[1]:g}."]


def _leaked(table: Table, found: Ranking) -> list[str]:
    column = table.columns.get("leak")
    plain = [prompt.kind == "plain" for prompt in table.prompts]
    if column is None or found.choice is None or not any(plain):
        return []
    values = column.values[found.choice][counted(table, "plain")]
    if not np.isfinite(values).any():
        return []
    moved = float(np.nanmean(values))
    return [f"Prompts without the trigger word move by {moved:.2f} (1 - SSIM): that much leaks."]


def _copied(copies: Sequence[Mapping[str, Any]]) -> list[str]:
    if not copies:
        return []
    count = f"{len(copies)} pictures are copies" if len(copies) > 1 else "One picture is a copy"
    names = sorted({str(copy["training"]) for copy in copies})
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    first = min(int(copy["epoch"]) for copy in copies)
    return [f"{count} of training pictures ({shown}), the earliest at epoch {first}."]


def _next(table: Table, found: Ranking) -> list[str]:
    if thin(table):
        return ["Next: analyse again with more prompts and seeds."]
    if found.state == "nothing learned" and found.moved:
        return ["Next: analyse with more prompts and seeds, or train longer."]
    if found.state == "nothing learned":
        return ["Next: train longer, at a higher learning rate, or with more modules."]
    if found.state == "nothing safe":
        return ["Next: train with a lower learning rate or rank, or try lower strengths."]
    if found.trained == "too long":
        return ["Next: train fewer epochs or at a lower learning rate, and save more often early."]
    if found.trained == "too short":
        return ["Next: train for more epochs."]
    return []


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
