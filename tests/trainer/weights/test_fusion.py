"""Several LoRAs as one on a stacked module, and back."""

from __future__ import annotations

import pytest
import torch

from trainer.weights.fusion import Factors, fuse, split

QKV = (1, 1, 1)
LINEAR1 = (1, 1, 1, 4)
UNIT, WIDTH = 6, 5


def factors(place, shares, *, rank, alpha=None, seed=0):
    draws = torch.Generator().manual_seed(10 * seed + place)
    return Factors(
        torch.randn(rank, WIDTH, generator=draws),
        torch.randn(UNIT * shares[place], rank, generator=draws),
        float(rank if alpha is None else alpha),
    )


def update(one):
    return one.b @ one.a * (one.alpha / one.rank)


def stacked(members, shares):
    """The updates of all members row upon row."""
    rows = [
        update(members[i]) if i in members else torch.zeros(UNIT * share, WIDTH)
        for i, share in enumerate(shares)
    ]
    return torch.cat(rows)


CASES = {
    "all, one rank": (QKV, {0: (4, 2.0), 1: (4, 2.0), 2: (4, 2.0)}),
    "all four": (LINEAR1, {0: (2, 2.0), 1: (2, 2.0), 2: (2, 2.0), 3: (2, 2.0)}),
    "query and value": (QKV, {0: (3, 1.0), 2: (3, 1.0)}),
    "the last alone": (LINEAR1, {3: (8, 4.0)}),
    "three of four, divisible by four": (LINEAR1, {0: (4, 1.0), 1: (4, 1.0), 2: (4, 1.0)}),
    "different ranks": (QKV, {0: (1, 0.5), 1: (3, 1.5), 2: (4, 2.0)}),
}


@pytest.mark.parametrize(("shares", "asked"), CASES.values(), ids=CASES)
def test_what_was_fused_comes_apart_bit_for_bit(shares, asked):
    members = {i: factors(i, shares, rank=r, alpha=a) for i, (r, a) in asked.items()}
    whole = fuse(members, shares)
    assert torch.allclose(update(whole), stacked(members, shares), atol=1e-6)
    back = split(whole, shares)
    assert [i for i, own in enumerate(back) if own is not None] == sorted(members)
    for place, own in members.items():
        found = back[place]
        assert torch.equal(found.a, own.a)
        assert torch.equal(found.b, own.b)
        assert found.alpha == pytest.approx(own.alpha, rel=1e-12)


def test_different_scales_are_folded_into_b():
    members = {0: factors(0, QKV, rank=2, alpha=1.0), 1: factors(1, QKV, rank=3, alpha=6.0)}
    whole = fuse(members, QKV)
    assert whole.alpha == whole.rank == 5
    assert torch.allclose(update(whole), stacked(members, QKV), atol=1e-6)


def test_a_member_whose_b_is_still_zero_keeps_its_rank():
    members = {i: factors(i, QKV, rank=2) for i in range(3)}
    members[1].b.zero_()
    ranks = [own.rank for own in split(fuse(members, QKV), QKV)]
    assert ranks == [2, 2, 2]


@pytest.mark.parametrize("shares", [QKV, LINEAR1])
def test_what_was_trained_as_one_is_cut_into_the_same_update(shares):
    draws = torch.Generator().manual_seed(3)
    whole = Factors(
        torch.randn(4, WIDTH, generator=draws),
        torch.randn(UNIT * sum(shares), 4, generator=draws),
        2.0,
    )
    parts = split(whole, shares)
    assert torch.allclose(torch.cat([update(part) for part in parts]), update(whole), atol=1e-6)
    assert all(part.rank == 4 for part in parts)


def test_rows_that_do_not_change_are_no_member():
    whole = Factors(torch.randn(4, WIDTH), torch.randn(UNIT * 3, 4), 4.0)
    whole.b[UNIT : 2 * UNIT] = 0
    assert [part is None for part in split(whole, QKV)] == [False, True, False]
