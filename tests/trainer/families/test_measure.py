"""Counting what a forward pass keeps, without weights."""

from __future__ import annotations

import torch

from trainer.families.flux import FluxConfig
from trainer.families.measure import _Kept


def test_what_was_kept_and_freed_counts_though_its_address_is_taken_again():
    kept = _Kept([])
    for size in range(1, 101):
        kept.keep(torch.empty(size, device="meta", dtype=torch.uint8))
    assert len(kept.all) == 100
    assert sum(kept.all.values()) == 5050


def test_a_storage_counts_once_and_weights_never():
    weight = torch.empty(7, device="meta", dtype=torch.uint8)
    kept = _Kept([weight.untyped_storage()._cdata])
    picture = torch.empty(3, device="meta", dtype=torch.uint8)
    for tensor in (weight, picture, picture[1:]):
        kept.keep(tensor)
    assert sum(kept.all.values()) == 3


def test_words_are_counted_as_the_model_s_own_tokenizer_cuts_them():
    """The demo's T5 reads 24, where FLUX.1 dev's reads 512."""
    outline = FluxConfig(kind="flux", base="demo", resolution=128).outline("attention")
    assert outline.caption == 4 * 24 * 192
    assert outline.kept < 10 * 2**20
