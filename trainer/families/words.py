"""What the families share about text encoders: CLIP's names, and words turned into tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.families.files import ModelFiles

_CLIP = """
    text_model encoder layers self_attn q_proj k_proj v_proj out_proj mlp fc1 fc2
"""
CLIP = frozenset(_CLIP.split())
"""Every name between two dots of CLIP's module paths."""
_T5 = """
    encoder block layer SelfAttention q k v o DenseReluDense wi wi_0 wi_1 wo
"""
T5 = frozenset(_T5.split())
"""Every name between two dots of T5's module paths."""
CLIP_ATTENTION = r".*\.(self_attn\.(q_proj|k_proj|v_proj|out_proj))"
"""CLIP's modules that carry an adapter when text encoders train: all four, since readers drop a
layer of which one is missing."""

CLIP_TOKENIZER = ("transformers.CLIPTokenizer", "transformers.CLIPTokenizerFast")
T5_TOKENIZER = ("transformers.T5Tokenizer", "transformers.T5TokenizerFast")
"""What the tokenizer of either kind may be, for `ModelConfig.parts`."""


def clip_tokenizer(folder: ModelFiles, encoder: Any, name: str = "tokenizer") -> Any:
    """The tokenizer of a CLIP, checked against its configuration `encoder`.

    Raises:
        ModelError: It is missing, damaged, or another encoder's.
    """
    return folder.tokenizer(name, tokens=encoder.vocab_size, length=encoder.max_position_embeddings)


def t5_tokenizer(folder: ModelFiles, encoder: Any, name: str, length: int) -> Any:
    """The tokenizer of a T5, cut to `length`, checked against its configuration `encoder`.

    Raises:
        ModelError: It is missing, damaged, or another encoder's.
    """
    return folder.tokenizer(name, tokens=encoder.vocab_size, length=length)


def tokens(tokenizer: Any, captions: tuple[str, ...]) -> Tensor:
    """`(B, n)`: captions as numbers, cut or padded to the tokenizer's length."""
    numbers: Tensor = tokenizer(
        list(captions),
        padding="max_length",
        truncation=True,
        max_length=tokenizer.model_max_length,
        return_tensors="pt",
    ).input_ids
    return numbers
