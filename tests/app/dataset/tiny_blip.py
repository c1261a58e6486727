"""A BLIP of random weights that writes random words."""

from __future__ import annotations

from pathlib import Path

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]", "a", "red", "fox", "dog"]


def write_tiny_blip(folder: Path) -> Path:
    """Write model, tokenizer and picture processor in Transformers' format, 1 MB."""
    import torch
    from transformers import (
        BertTokenizerFast,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    tokenizer = BertTokenizerFast(vocab_file=str(folder / "vocab.txt"))
    small = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}
    text = {
        **small,
        "num_hidden_layers": 2,
        "vocab_size": len(WORDS),
        "encoder_hidden_size": 32,
        "max_position_embeddings": 64,
        "bos_token_id": WORDS.index("[DEC]"),
        "eos_token_id": WORDS.index("[SEP]"),
        "sep_token_id": WORDS.index("[SEP]"),
        "pad_token_id": 0,
    }
    vision = {**small, "num_hidden_layers": 2, "image_size": 32, "patch_size": 8}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BlipForConditionalGeneration(
            BlipConfig(text_config=text, vision_config=vision, projection_dim=32)
        )
    model.save_pretrained(folder)
    processor = BlipImageProcessor(size={"height": 32, "width": 32})
    BlipProcessor(processor, tokenizer).save_pretrained(folder)
    return folder
