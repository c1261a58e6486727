"""Several LoRAs as one on the module that stacks theirs row upon row, and back, exactly.

The first code of FLUX.1 and of Stable Diffusion 3 has query, key and value in one matrix, and so
have files made for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Factors:
    """A low-rank update `b @ a * alpha / rank`.

    Attributes:
        a: `(rank, in)`.
        b: `(out, rank)`.
        alpha: LoRA's constant.
    """

    a: Tensor
    b: Tensor
    alpha: float

    @property
    def rank(self) -> int:
        """Its width."""
        return int(self.a.shape[0])


def fuse(members: Mapping[int, Factors], shares: Sequence[int]) -> Factors:
    """One LoRA for the stacked module: A over one another, B block by block along the diagonal.

    Args:
        members: By place in the stack; those that are missing change nothing.
        shares: Rows of all members, as multiples of a common number.
    """
    import torch

    if len(shares) == 1:
        return members[0]
    present = sorted(members.items())
    rank = sum(member.rank for _, member in present)
    first, some = present[0]
    unit = some.b.shape[0] // shares[first]
    starts = [unit * rows for rows in accumulate(shares, initial=0)]
    scales = {member.alpha / member.rank for _, member in present}
    b = some.b.new_zeros(starts[-1], rank)
    column = 0
    for place, member in present:
        block = b[starts[place] : starts[place + 1], column : column + member.rank]
        block.copy_(member.b if len(scales) == 1 else member.b * (member.alpha / member.rank))
        column += member.rank
    alpha = some.alpha * rank / some.rank if len(scales) == 1 else float(rank)
    return Factors(torch.cat([member.a for _, member in present]), b, alpha)


def split(whole: Factors, shares: Sequence[int]) -> list[Factors | None]:
    """The stacked module's LoRA as one for each member; None for those it does not change.

    Where each column of B belongs to one member only, they are taken apart again. Elsewhere
    (trained as one) each member has a copy of the whole A and its rows of B: the same update.
    """
    if len(shares) == 1:
        return [whole]
    unit = whole.b.shape[0] // sum(shares)
    blocks = whole.b.split([unit * share for share in shares])
    columns = _columns(blocks, whole.rank)
    if columns is None:
        return [
            Factors(whole.a.clone(), rows.clone(), whole.alpha) if rows.any() else None
            for rows in blocks
        ]
    return [
        Factors(
            whole.a[part].contiguous(),
            rows[:, part].contiguous(),
            whole.alpha * (part.stop - part.start) / whole.rank,
        )
        if part.stop > part.start
        else None
        for rows, part in zip(blocks, columns, strict=True)
    ]


def swap_halves(b: Tensor) -> Tensor:
    """The two halves of B's rows exchanged (shift and scale, which the first code has turned)."""
    import torch

    return torch.cat(b.chunk(2)[::-1])


def _columns(blocks: Sequence[Tensor], rank: int) -> list[slice] | None:
    """The columns of each member, where no column belongs to two; equal ranks where they can be."""
    count = len(blocks)
    for size in range(count, 0, -1):
        for some in combinations(range(count), size) if rank % size == 0 else ():
            widths = [rank // size if place in some else 0 for place in range(count)]
            found = _slices(widths)
            if _is_diagonal(blocks, found) and (size == count or _all_act(blocks, some)):
                return found
    return _slices_by_use(blocks, rank)


def _slices_by_use(blocks: Sequence[Tensor], rank: int) -> list[slice] | None:
    """Columns by the member that has numbers in them; those of zeros go with the one before."""
    widths = [0] * len(blocks)
    used = [rows.any(dim=0).tolist() for rows in blocks]
    last = 0
    for column in range(rank):
        last = next((place for place, there in enumerate(used) if there[column]), last)
        widths[last] += 1
    found = _slices(widths)
    return found if _is_diagonal(blocks, found) else None


def _slices(widths: Sequence[int]) -> list[slice]:
    ends = list(accumulate(widths))
    return [slice(end - width, end) for end, width in zip(ends, widths, strict=True)]


def _is_diagonal(blocks: Sequence[Tensor], columns: Sequence[slice]) -> bool:
    return not any(
        rows[:, : own.start].any() or rows[:, own.stop :].any()
        for rows, own in zip(blocks, columns, strict=True)
    )


def _all_act(blocks: Sequence[Tensor], some: Sequence[int]) -> bool:
    return all(bool(blocks[place].any()) for place in some)
