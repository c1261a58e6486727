"""What a spectrum means, in plain words, and what the places in a model are called.

It computes nothing: `spectrum` measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer.weights.spectrum import Spectrum

WHOLE = "all"
TEXT = "text encoder"
OTHER = "other"

_BLOCKS = (
    (r"down_blocks[._](\d+)", "down block {}"),
    (r"mid_block|middle_block", "middle block"),
    (r"up_blocks[._](\d+)", "up block {}"),
    (r"single_(transformer_)?blocks", "single blocks"),
    (r"double_blocks|joint_blocks|transformer_blocks", "double blocks"),
)
"""The first that fits. Blocks of transformers are many and alike, so they go together."""
_KINDS = (
    ("attn1|self_attn", "self-attention"),
    ("attn2|cross_attn", "cross-attention"),
    (r"ff(_context)?|mlp|fc\d", "feed-forward"),
    (r"(\w+_)?attn|qkv|to_[qkv]", "attention"),
    ("proj_in|proj_out", "projection"),
    (r"time_emb\w*|emb_layers|(\w+_)?mod|modulation|norm\d?", "time and norm"),
    (r"conv\w*|in_layers|out_layers|skip_connection|op", "convolution"),
)


def place(name: str) -> tuple[str, str]:
    """The block and kind of a module by its name in any layout; "other" where it tells none.

    >>> place("lora_unet_up_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k")
    ('up block 1', 'cross-attention')
    """
    return _block(name), _kind(name)


def sentences(told: Spectrum) -> list[str]:
    """What there is to say, the gravest first."""
    return [*_faults(told), *_size(told), *_rank(told), *_shares(told), *_intruders(told)]


def _block(name: str) -> str:
    text = re.match(r"lora_te(\d?)_|text_encoders?(?:_(\d))?[._]", name)
    if text:
        number = text[1] or text[2] or "1"
        return TEXT if number == "1" else f"{TEXT} {number}"
    older = re.search(r"(input|output)_blocks[._](\d+)", name)
    if older:
        return _older(older[1], int(older[2]))
    for pattern, words in _BLOCKS:
        found = re.search(pattern, name)
        if found:
            return words.format(*found.groups())
    return OTHER


def _older(side: str, number: int) -> str:
    """The first Stable Diffusion code's names: three to a block, after an entry on the way down."""
    if side == "output":
        return f"up block {number // 3}"
    return f"down block {(number - 1) // 3}" if number else OTHER


def _kind(name: str) -> str:
    for pattern, kind in _KINDS:
        if re.search(rf"(?:^|[._])(?:{pattern})(?=[._]|$)", name):
            return kind
    return OTHER


def _faults(told: Spectrum) -> Iterator[str]:
    count = len(told.modules) + len(told.broken) + len(told.left_out)
    if told.broken:
        yield (
            f"{_of(told.broken, count)} no numbers (NaN or infinite values), the first is "
            f"{told.broken[0]!r}: the file is spoilt, take an earlier epoch"
        )
    if told.left_out:
        yield (
            f"{_of(told.left_out, count)} more than a plain LoRA (DoRA, Tucker) and not measured, "
            f"the first is {told.left_out[0]!r}"
        )
    if told.zeros and told.whole.norm:
        yield (
            f"{_of(told.zeros, count)} zero: nothing was learned there, the first is "
            f"{told.zeros[0]!r}"
        )
    if not told.modules:
        yield "none of its modules could be measured"
    elif not told.whole.norm:
        yield "every module is zero: the LoRA changes nothing"


def _of(some: list[str], count: int) -> str:
    return f"{len(some)} of {_modules(count)} {'is' if len(some) == 1 else 'are'}"


def _modules(count: int) -> str:
    return "1 module" if count == 1 else f"{count} modules"


def _size(told: Spectrum) -> Iterator[str]:
    if not told.whole.relative:
        return
    most = max(told.modules, key=lambda module: module.relative or 0.0)
    yield (
        f"it moves the weights by {told.whole.relative:.2%} of their length, and most in "
        f"{most.block} by {most.relative:.2%} ({most.name})"
    )


def _rank(told: Spectrum) -> Iterator[str]:
    whole = told.whole
    if not whole.norm:
        return
    used = max(1, round(whole.effective_rank))
    if whole.rank == 1:
        return
    ranks = f"uses {used} of its {whole.rank} ranks"
    if whole.rank_99 < whole.rank:
        yield f"{ranks}: rank {whole.rank_99} would hold 99% of it"
    else:
        yield f"{ranks}: a smaller rank would lose more than 1% of it"


def _shares(told: Spectrum) -> Iterator[str]:
    if not told.whole.norm:
        return
    text = [group for group in told.blocks if group.name.startswith(TEXT)]
    if text and len(text) < len(told.blocks):
        yield f"the text encoder carries {sum(group.share for group in text):.0%} of the change"
    rest = [group for group in told.blocks if group not in text]
    if len(rest) > 1:
        most = max(rest, key=lambda group: group.share)
        yield f"{most.name} changes most: {most.share:.0%} of it, in {_modules(most.modules)}"
    if len(told.kinds) > 1:
        kinds = sorted(told.kinds, key=lambda group: -group.share)
        yield "by kind: " + ", ".join(f"{group.name} {group.share:.0%}" for group in kinds)


def _intruders(told: Spectrum) -> Iterator[str]:
    whole = told.whole
    if whole.intruders is None:
        return
    among = _modules(whole.looked)
    if whole.looked < whole.modules:
        among = f"the {whole.looked} modules that were looked into ({whole.modules} in all)"
    if not whole.intruders:
        yield f"none of {among} has intruder dimensions"
        return
    most = max(told.modules, key=lambda m: (m.intruders or 0, m.norm / (m.base_norm or 1.0)))
    verb = "has" if whole.intruded == 1 else "have"
    yield (
        f"{whole.intruded} of {among} {verb} intruder dimensions (strong directions that the base "
        f"model lacks), the most in {most.block}: in language models they go with forgetting; for "
        "pictures they are a hint"
    )
