"""Makes a small CLIPTokenizer: byte-level BPE over emoji names and what LoRA users type.

All 256 bytes are in the vocabulary, with and without the end-of-word mark, so a word it does
not know falls into pieces and none is lost.
"""

import argparse
import json
import logging
from collections.abc import Iterator
from pathlib import Path

from concepts import COLOURS, STYLES, TRAINED, caption
from picture import load_pack
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

logger = logging.getLogger(__name__)

LENGTH = 32
START, END = "<|startoftext|>", "<|endoftext|>"
SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""How CLIP cuts text into words."""

USER_WORDS = """sks ohwx style 3d photo picture image drawing painting illustration sketch render
icon emoji logo cartoon anime comic pixel art watercolor watercolour oil ink pencil crayon clay
plastic glossy matte shiny soft toy plush sticker poster close up closeup portrait side front
back view of in on the with and at to from for by my your this that a an one two three small big
tiny huge cute happy sad angry smiling laughing crying sleeping winking old young new black white
red green blue yellow orange purple pink brown grey gray teal gold silver dark light bright
colourful colorful plain simple background sky grass snow beach night day indoors outdoors
standing sitting running flying wearing holding hat character person man woman boy girl child
animal face head body eyes mouth nose ears tail wings hair high low quality detailed best blurry
ugly bad masterpiece flat noto fluent noisy text watermark cat kitten puppy"""


def main() -> None:
    """Write `tokenizer/` with vocab.json, merges.txt and tokenizer.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/demo"))
    parser.add_argument("--size", type=int, default=3200)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    merges = learn_merges(texts(args.work), args.size)
    vocabulary = number(merges)
    out = args.work / "tokenizer"
    write(out, vocabulary, merges)
    for word in (*["sks", "ohwx", "style", "3d", "noto", "flat", "rocket"], "Zxqé ☃"):
        tokens = CLIPTokenizer.from_pretrained(out).tokenize(word)
        logger.info("%s -> %s", word, " ".join(tokens))


def texts(work: Path) -> Iterator[str]:
    """All emoji names, the captions and the user's words; what matters more comes more often."""
    for style in ("noto", "flat", "twemoji", "3d"):
        yield from (name.replace("-", " ") for name in load_pack(work, style).names)
    for slug in TRAINED:
        for style in STYLES:
            yield from (caption(slug, style=style, background=c) for c in COLOURS)
    yield from [USER_WORDS] * 20


def learn_merges(lines: Iterator[str], size: int) -> list[tuple[str, str]]:
    """The merges of a BPE trained on `lines`, in order."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix="</w>",
    )
    tokenizer.train_from_iterator(lines, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [tuple(merge) for merge in merges]


def number(merges: list[tuple[str, str]]) -> dict[str, int]:
    """Bytes, bytes that end a word, merged tokens, then the two marks."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = letters + [f"{letter}</w>" for letter in letters]
    tokens += [left + right for left, right in merges] + [START, END]
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


def write(out: Path, vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> None:
    """Save for old and new readers alike."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token=END,
        model_max_length=LENGTH,
    )
    tokenizer.save_pretrained(out)
    (out / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    (out / "merges.txt").write_text("\n".join(lines) + "\n")
    logger.info("%d tokens, %d merges", len(vocabulary), len(merges))


if __name__ == "__main__":
    main()
