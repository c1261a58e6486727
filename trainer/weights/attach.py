"""Putting an adapter on a loaded model, and holding what then trains.

Knows nothing of files: `state` speaks our own names, `<part>.<module path>.lora_A` and
`.lora_B`, which `layouts` turns into the names other programs read.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from trainer.core.draws import generator
from trainer.core.errors import ConfigError
from trainer.weights.adapter import DENOISER, NAME, AdaptedModule, Adapter

if TYPE_CHECKING:
    from torch import nn

    from trainer.adapters.base import AdapterConfig
    from trainer.families.base import LoadedModel

__all__ = ["AdaptedModule", "Adapter", "attach"]


def attach(
    model: LoadedModel, adapter: AdapterConfig, *, text_encoders: Collection[str], seed: int
) -> Adapter:
    """Add a fresh adapter, which changes nothing yet, and freeze everything else.

    What trains is fp32 whatever the base's format. The first values depend on `seed` and
    each module's path alone, not on order or on torch's global generator.

    Args:
        model: Changed in place.
        adapter: Its targets are looked for in the denoiser.
        text_encoders: Names of those that are adapted too, with the same rank and alpha.
        seed: The run's.

    Raises:
        ConfigError: No module is meant by `adapter.targets`, or a text encoder is not there.
    """
    networks = {DENOISER: (model.denoiser, resolve(model, adapter.targets))}
    for part, encoder in model.text_encoders.items():
        chosen = part in text_encoders
        networks[part] = (encoder, _matching(encoder, model.text_targets[part]) if chosen else [])
    bare = [part for part in text_encoders if not networks.get(part, (None, []))[1]]
    if bare:
        raise ConfigError(
            f"an adapter does not fit on the model's {' and '.join(bare)}",
            where="text_encoder.train",
            hint="text_encoder.train = false",
        )
    modules: list[AdaptedModule] = []
    for part, (network, paths) in networks.items():
        network.requires_grad_(False)
        if paths:
            modules.extend(_inject(network, part, paths, adapter))
    for module in modules:
        _start(module, seed)
    return Adapter(modules)


def resolve(model: LoadedModel, targets: str) -> list[str]:
    """Paths of the denoiser's modules that `targets` means: a named choice, or an expression.

    Raises:
        ConfigError: It is no valid expression, or no module matches.
    """
    try:
        pattern = re.compile(model.pattern(targets))
    except re.error as error:
        raise ConfigError(
            f"{targets!r} is neither a named choice nor a regular expression ({error})",
            where="adapter.targets",
            hint=_near(model, targets),
        ) from error
    paths = _matching(model.denoiser, pattern)
    if not paths:
        raise ConfigError(
            f"{targets!r} matches no linear or convolution layer of the denoiser",
            where="adapter.targets",
            hint=_near(model, targets),
        )
    return paths


def _near(model: LoadedModel, targets: str) -> str:
    """What may have been meant: a suffix, a choice of similar name, or the choices there are."""
    loose = rf".*\.({targets})"
    try:
        if _matching(model.denoiser, loose):
            return f"{loose!r}, since an expression must match whole module paths"
    except re.error:
        pass
    names = difflib.get_close_matches(targets, model.targets, n=2)
    if names:
        return " or ".join(map(repr, names))
    example = _matching(model.denoiser, ".*")[0]
    choices = ", ".join(map(repr, model.targets))
    return f"{choices}, or an expression that matches whole paths like {example!r}"


def _matching(network: nn.Module, pattern: str | re.Pattern[str]) -> list[str]:
    """Whole paths of linear and 2-D convolution layers that match."""
    from torch import nn

    return [
        path
        for path, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and re.fullmatch(pattern, path)
    ]


def _inject(
    network: nn.Module, part: str, paths: list[str], config: AdapterConfig
) -> list[AdaptedModule]:
    from peft import inject_adapter_in_model

    inject_adapter_in_model(config.peft_config(paths), network, adapter_name=NAME)
    network.requires_grad_(False)
    network.train(network.training)
    modules = list(_adapted(network, part))
    unasked = {module.path for module in modules} ^ set(paths)
    assert not unasked, f"PEFT adapted other modules than asked: {sorted(unasked)}"
    return modules


def _adapted(network: nn.Module, part: str) -> Iterator[AdaptedModule]:
    from peft.tuners.lora import LoraLayer

    for path, layer in network.named_modules():
        if isinstance(layer, LoraLayer):
            a, b = layer.lora_A[NAME].weight, layer.lora_B[NAME].weight
            for parameter in (a, b):
                parameter.data = parameter.data.float()
                parameter.requires_grad_(True)
            yield AdaptedModule(part, path, layer, a, b, layer.r[NAME], layer.scaling[NAME])


def _start(module: AdaptedModule, seed: int) -> None:
    """LoRA's first values: A from U(-1, 1) / sqrt(fan in), B zero, as PEFT and kohya draw them."""
    import torch

    drawn = torch.empty(module.a.shape, dtype=torch.float32)
    torch.nn.init.kaiming_uniform_(
        drawn, a=math.sqrt(5), generator=generator(seed, "init", module.name)
    )
    with torch.no_grad():
        module.a.copy_(drawn)
        module.b.zero_()
