"""The tensors of a file, each put to the part of the model that it belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from trainer.families.single.header import Header
from trainer.families.single.pending import Pending
from trainer.families.single.spelling import Spelling

_SCHEDULE = re.compile(
    r"betas|alphas_cumprod(_prev)?|sqrt_.*|log_one_minus_.*|posterior_.*|lvlb_weights|logvar"
    r"|denoiser\.(sigmas|log_sigmas)|v_pred|ztsnr|global_step|epoch"
)
"""What training left: the timesteps as numbers, which the scheduler's settings give as well."""
_AVERAGED = "model_ema."


@dataclass(frozen=True, slots=True)
class Sorted:
    """What lies where.

    Attributes:
        parts: Part name -> the network's own names -> where each tensor is.
        cut: Parts whose last layer is in the file and is not used.
        notes: What was left unread and may matter, in sentences.
    """

    parts: dict[str, dict[str, Pending]] = field(default_factory=dict)
    cut: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def sort(header: Header, spellings: Mapping[str, tuple[Spelling, ...]]) -> Sorted:
    """Sort by how a family says that its parts are spelled; a long prefix goes before none."""
    left = dict(header.tensors)
    found = [
        (part, spelling)
        for part, ways in spellings.items()
        if (spelling := next((way for way in ways if way.occurs(left)), None))
    ]
    parts: dict[str, dict[str, Pending]] = {}
    for part, spelling in sorted(found, key=lambda pair: -len(pair[1].prefix)):
        names = [name for name in left if name.startswith(spelling.prefix)]
        inner = {name.removeprefix(spelling.prefix): left.pop(name) for name in names}
        pending = {
            name: Pending.of(header.path, spelling.prefix + name, entry)
            for name, entry in inner.items()
            if not re.fullmatch(spelling.unused, name)
        }
        parts[part] = dict(spelling.rename(pending))
    cut = frozenset(part for part, spelling in found if spelling.last_unused)
    return Sorted(parts, cut, _notes(list(left)))


def _notes(left: list[str]) -> tuple[str, ...]:
    averaged = [name for name in left if name.startswith(_AVERAGED)]
    others = [n for n in left if not n.startswith(_AVERAGED) and not _SCHEDULE.fullmatch(n)]
    notes = []
    if averaged:
        notes.append(
            f"the checkpoint holds averaged weights too ({len(averaged)} under {_AVERAGED!r}); "
            "the plain ones are used"
        )
    if others:
        notes.append(
            f"{len(others)} tensors of the checkpoint belong to no part of the model and are not "
            f"used, the first is {others[0]!r}"
        )
    return tuple(notes)
