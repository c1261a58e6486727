"""Reading the networks and tokenizers of a model from their files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.core.device import trim_memory
from trainer.core.errors import ModelError
from trainer.families.shards import find_shards

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.core.device import Bits, Plan

_VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",))
"""Any of these makes a tokenizer whole, if it is of a kind that reads them."""
_ALIGNED = 64
"""Bytes at whose multiples torch puts memory. A tensor that still lies in its mapped file may not
be at one, and matrix products then round otherwise than with the same weights elsewhere."""


def read_network(
    cls: Any, path: Path, plan: Plan, bits: Bits = "plain", *, waiting: float = 0.0
) -> Any:
    """The network in a folder, of this class, frozen, on the plan's device.

    Args:
        cls: Diffusers' or transformers' class.
        path: Holds its configuration and weights.
        plan: Tells the format, and where to.
        bits: How to hold the weights of its linear layers.
        waiting: Share of its blocks whose weights stay in main memory.

    Raises:
        ModelError: A tensor is missing, or holds NaN or infinite values.
    """
    where = replace(plan, device="cpu") if waiting else plan
    network = _piecewise(cls, path, where, bits)
    if network is None:
        network = _at_once(cls, path, plan.dtype)
        require_finite(network.named_parameters(), path)
        if bits != "plain":
            hold_all(network, where, bits)
    return placed(network, plan, waiting)


def placed(network: Any, plan: Plan, waiting: float) -> Any:
    """The whole network frozen, in evaluation mode, where the plan says."""
    if waiting:
        from trainer.networks.sparing import offload

        offload(network, waiting, plan.device)
    network = network.requires_grad_(requires_grad=False).eval().to(plan.device)
    trim_memory()
    return network


def hold_all(network: Any, plan: Plan, bits: Bits) -> None:
    """Exchange all layers that are worth it for ones that hold their weights in fewer bits."""
    from trainer.networks.held import suits

    for name, layer in list(network.named_modules()):
        if suits(name, layer):
            weight = layer.weight.data
            held = _held(network, name, weight, plan, bits)
            held.bias = layer.bias
            layer.weight.data = weight.new_empty(0)
            _exchange(network, name, held)


def _at_once(cls: Any, path: Path, dtype: Any) -> Any:
    shards = find_shards(path)
    network, told = cls.from_pretrained(
        path,
        variant=shards.variant if shards else None,
        torch_dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
    )
    absent = sorted(told["missing_keys"])
    if absent:
        files = shards.files if shards else ()
        raise ModelError(
            f"{len(absent)} tensors are missing, the first is {absent[0]!r}",
            where=str(files[0] if len(files) == 1 else path),
            hint="download the model again",
        )
    for parameter in network.parameters():
        if parameter.data_ptr() % _ALIGNED:
            parameter.data = parameter.data.clone()
    return network


def _piecewise(cls: Any, path: Path, plan: Plan, bits: Bits) -> Any | None:
    """Read one tensor at a time, so that file and network are never in memory both.

    `from_pretrained` maps the whole file: reading 3.4 GB of fp32 for a 1.7 GB network in bf16
    takes 5.6 GB. None where it must be used: old names, parts that stay in fp32.
    """
    files = _files(path)
    if not files or (cls._keep_in_fp32_modules and plan.precision == "fp16"):
        return None
    network = on_meta(cls, path)
    wanted = set(network.state_dict())
    others = tied(network)
    names = {name for file in files for name in _names(file)}
    if names - wanted or wanted - names - others:
        return None
    fill(network, _tensors(files), plan, bits, where=path)
    if others:
        network.tie_weights()
    whole = all(not t.is_meta for t in (*network.parameters(), *network.buffers()))
    return network if whole else None


def on_meta(cls: Any, path: Path) -> Any:
    """The network of a folder without weights, on torch's meta device."""
    import diffusers

    plain = issubclass(cls, diffusers.ModelMixin)
    read = cls.load_config if plain else cls.config_class.from_pretrained
    return _built(cls, read(path, local_files_only=True))


def built_on_meta(cls: Any, settings: dict[str, Any]) -> Any:
    """The network that such settings describe without weights, on torch's meta device."""
    import diffusers

    plain = issubclass(cls, diffusers.ModelMixin)
    return _built(cls, settings if plain else cls.config_class.from_dict(settings))


def _built(cls: Any, config: Any) -> Any:
    import diffusers
    import torch

    with torch.device("meta"):
        return cls.from_config(config) if issubclass(cls, diffusers.ModelMixin) else cls(config)


def fill(
    network: Any, tensors: Iterator[tuple[str, Tensor]], plan: Plan, bits: Bits, *, where: Path
) -> None:
    """Give a network on torch's meta device its weights, one after the other, in `bits`.

    Raises:
        ModelError: A tensor holds NaN or infinite values.
    """
    import torch

    from trainer.networks.held import suits

    wide = _kept_wide(network, plan)
    state: dict[str, Tensor] = {}
    for name, tensor in tensors:
        require_finite([(name, tensor)], where)
        path = name.removesuffix(".weight")
        layer = network.get_submodule(path) if path != name else None
        if bits != "plain" and layer is not None and suits(path, layer):
            held = _held(network, path, tensor.to(plan.dtype), plan, bits)
            _exchange(network, path, held)
        else:
            dtype = torch.float32 if wide & set(name.split(".")) else plan.dtype
            state[name] = tensor.to(dtype, copy=True)
    network.load_state_dict(state, strict=False, assign=True)


def _held(network: Any, path: str, weight: Tensor, plan: Plan, bits: Bits) -> Any:
    """The layer of this path with its weight in `bits`.

    T5 casts what goes into some layers to the format of their weight, int8 excepted: these are
    held in int8 whatever is asked, and compute in fp32 where they overflow fp16.
    """
    from trainer.networks.held import HeldLinear, hold

    kept_apart = delicate(network, path)
    layer = network.get_submodule(path)
    kind: Bits = "int8" if kept_apart else bits
    held = hold(layer, weight, kind, double=plan.thrift.double, device=plan.device)
    if kept_apart and isinstance(held, HeldLinear):
        held.wide = plan.precision == "fp16"
    return held


def delicate(network: Any, path: str) -> bool:
    """Whether a layer is one that its library would keep in fp32."""
    kept = getattr(network, "_keep_in_fp32_modules", None) or ()
    return bool(set(kept) & set(path.split(".")))


def _kept_wide(network: Any, plan: Plan) -> set[str]:
    """Names of modules that stay in fp32 where the plan is fp16, as their library asks."""
    return set(network._keep_in_fp32_modules or ()) if plan.precision == "fp16" else set()


def _exchange(network: Any, path: str, layer: Any) -> None:
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, layer)


def _files(path: Path) -> list[Path]:
    """The weight files: one, or those that an index lists."""
    shards = find_shards(path)
    return list(shards.files) if shards else []


def _names(file: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(file, "pt") as content:
        return list(content.keys())


def _tensors(files: list[Path]) -> Iterator[tuple[str, Tensor]]:
    from safetensors import safe_open

    for file in files:
        for name in _names(file):
            with safe_open(file, "pt") as content:
                yield name, content.get_tensor(name)


def tied(network: Any) -> set[str]:
    """Names of weights that are another's, which files may leave out."""
    return set(getattr(network, "all_tied_weights_keys", None) or ())


def require_finite(tensors: Any, where: Path) -> None:
    """Check named tensors of the file or folder `where`.

    Raises:
        ModelError: One holds NaN or infinite values.
    """
    bad = [name for name, tensor in tensors if not _finite(tensor)]
    if bad:
        raise ModelError(
            f"{len(bad)} tensors hold NaN or infinite values, the first is {bad[0]!r}",
            where=str(where),
            hint="download the model again",
        )


def _finite(tensor: Tensor) -> bool:
    """By the extremes, which NaN passes through: no mask as large as the tensor is made."""
    import torch

    if not tensor.numel():
        return True
    if tensor.is_floating_point() and tensor.element_size() == 1:  # no extremes of 8-bit floats
        tensor = tensor.to(torch.bfloat16)
    return bool(torch.isfinite(torch.stack(torch.aminmax(tensor))).all())


def read_tokenizer(cls: Any, path: Path) -> Any:
    """The tokenizer in a folder, of this class.

    Without a vocabulary the library makes one of two tokens, and all captions are equal.

    Raises:
        ModelError: Its vocabulary is missing.
    """
    known = {*cls.vocab_files_names.values()}
    sets = [names for names in _VOCABULARIES if known.issuperset(names)]
    if not any(all((path / name).is_file() for name in names) for names in sets):
        absent = [n for names in sets[1:] for n in names if not (path / n).is_file()]
        raise ModelError(
            f"the tokenizer has no {' and no '.join(absent)}, and no tokenizer.json",
            where=str(path),
            hint="download the model again, with all files of the tokenizer",
        )
    return cls.from_pretrained(path, local_files_only=True)
