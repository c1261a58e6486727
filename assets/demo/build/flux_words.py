"""Makes a small T5 tokenizer: unigrams of emoji names and what LoRA users type.

All printable letters are in the vocabulary, so a word it does not know falls into letters.
"""

import argparse
import logging
import math
import re
from collections import Counter
from pathlib import Path

from tokenizer import texts
from transformers import T5TokenizerFast

logger = logging.getLogger(__name__)

LENGTH = 24
MARKS = ("<pad>", "</s>", "<unk>")
LETTER = 1e-3
"""How often a letter counts as met: a word that is known wins."""
LETTERS = ["▁", *map(chr, range(33, 127))]


def main() -> None:
    """Write `tokenizer_2/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/demo"))
    parser.add_argument("--size", type=int, default=2400)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    tokenizer = T5TokenizerFast(
        vocab=learn(args.work, args.size), extra_ids=0, model_max_length=LENGTH
    )
    tokenizer.save_pretrained(args.work / "tokenizer_2")
    for word in ("sks", "ohwx", "a red apple, flat style, on a teal background, emoji", "Zxq"):
        logger.info("%s -> %s", word, " ".join(tokenizer.tokenize(word)))


def learn(work: Path, size: int) -> list[tuple[str, float]]:
    """The marks, the most frequent words and all letters, with logarithms of their shares."""
    lines = [line.lower() for line in texts(work)]
    counts = Counter(word for line in lines for word in re.findall(r"[a-z0-9]+|[^a-z0-9 ]", line))
    total = counts.total()
    words = [(f"▁{word}", math.log(count / total)) for word, count in counts.most_common(size)]
    letters = [(letter, math.log(LETTER / total)) for letter in LETTERS]
    return [*((mark, 0.0) for mark in MARKS), *words, *letters]


if __name__ == "__main__":
    main()
