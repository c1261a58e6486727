"""What a generated picture says of itself: written into the PNG, and read back from one.

Ours is JSON in the chunk that cells and samples have theirs in; the chunk `parameters` says the
same as A1111 and its kin write and read it. File names and hashes are told, paths are not.
"""

from __future__ import annotations

import io
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.generate.asked import Order
from trainer.core.errors import ConfigError

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

OURS, THEIRS = "sweetspot", "parameters"
_LARGEST = 200_000
"""Characters of a recipe that is read."""
_TAG = re.compile(r"<lora:([^:<>]+):(-?[0-9.]+)>")
_PAIR = re.compile(r"\s*(Steps|CFG scale|Seed|Size|Model): ([^,]+)")


@dataclass(frozen=True, slots=True)
class Told:
    """What a picture says of how it was made.

    Attributes:
        loras: Name, SHA-256 (empty where it is not told) and strength of each.
    """

    prompt: str
    negative: str = ""
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    width: int | None = None
    height: int | None = None
    base: str = ""
    loras: tuple[tuple[str, str, float], ...] = ()


def facts(
    order: Order, seed: int, digests: Mapping[str, str], more: Mapping[str, Any]
) -> dict[str, Any]:
    """All that made a picture, as plain values.

    Args:
        order: What it was rendered for.
        seed: Its own.
        digests: SHA-256 of each LoRA file.
        more: What only the renderer knows: size, precision, versions.
    """
    loras = [
        {"name": Path(use.file).name, "digest": digests[use.file], "strength": use.strength}
        for use in order.loras
    ]
    return {
        "prompt": order.prompt,
        "negative": order.negative,
        "seed": seed,
        "steps": order.steps,
        "guidance": order.guidance,
        "loras": loras,
        "base": Path(order.model.base).name,
        "family": order.model.kind,
        **more,
    }


def chunks(told: Mapping[str, Any]) -> PngInfo:
    """The text chunks of a picture that these facts made."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text(OURS, json.dumps(told))
    info.add_itxt(THEIRS, parameters(told))
    return info


def parameters(told: Mapping[str, Any]) -> str:
    """The facts in A1111's words."""
    tags = [f"<lora:{Path(use['name']).stem}:{use['strength']:g}>" for use in told["loras"]]
    lines = [" ".join([told["prompt"], *tags])]
    if told["negative"]:
        lines.append(f"Negative prompt: {told['negative']}")
    width, height = told["size"]
    lines.append(
        f"Steps: {told['steps']}, Sampler: {told['sampler']}, CFG scale: {told['guidance']:g}, "
        f"Seed: {told['seed']}, Size: {width}x{height}, Model: {told['base']}"
    )
    return "\n".join(lines)


def read(content: bytes) -> Told:
    """The recipe that a picture carries.

    Raises:
        ConfigError: It is no PNG, or carries none.
    """
    for name, text in _texts(content):
        try:
            found = _ours(json.loads(text)) if name == OURS else _theirs(text)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        if found.prompt:
            return found
    raise ConfigError(
        "this picture carries no recipe that Sweetspot reads",
        hint="a PNG as Sweetspot or A1111 saved it; programs that send pictures often remove it",
    )


def _texts(content: bytes) -> Iterator[tuple[str, str]]:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
                found = dict(picture.info)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise ConfigError("this is no PNG picture", hint="a picture made here") from error
    for name in (OURS, THEIRS):
        if isinstance(found.get(name), str) and len(found[name]) <= _LARGEST:
            yield name, found[name]


def _ours(told: dict[str, Any]) -> Told:
    """Of generated pictures, of a sweep's cells, of `sweetspot sample`."""
    size: Any = told["size"]
    width, height = size if isinstance(size, list) else (size, size)
    if "loras" in told:
        loras = tuple((u["name"], u["digest"], float(u["strength"])) for u in told["loras"])
    elif told.get("lora"):
        lora = str(told["lora"])
        name, digest = ("", lora) if re.fullmatch("[0-9a-f]{64}", lora) else (lora, "")
        loras = ((name, digest, float(told["strength"])),)
    else:
        loras = ()
    base = told.get("base", "")
    return Told(
        prompt=str(told["prompt"]),
        negative=str(told.get("negative") or ""),
        seed=int(told["seed"]),
        steps=int(told["steps"]),
        guidance=None if told.get("guidance") is None else float(told["guidance"]),
        width=int(width),
        height=int(height),
        base=base if isinstance(base, str) else "",
        loras=loras,
    )


def _theirs(text: str) -> Told:
    lines = text.strip().split("\n")
    if len(lines) < 2 or "Steps:" not in lines[-1]:
        raise ValueError("not as A1111 writes it")
    pairs = dict(_PAIR.findall(lines[-1]))
    words, _, negative = "\n".join(lines[:-1]).partition("\nNegative prompt: ")
    width, _, height = pairs.get("Size", "").partition("x")
    return Told(
        prompt=_TAG.sub("", words).strip(),
        negative=negative.strip(),
        seed=int(pairs["Seed"]) if "Seed" in pairs else None,
        steps=int(pairs["Steps"]),
        guidance=float(pairs["CFG scale"]) if "CFG scale" in pairs else None,
        width=int(width) if width else None,
        height=int(height) if height else None,
        loras=tuple((name, "", float(strength)) for name, strength in _TAG.findall(words)),
    )
