"""Ways of a denoiser to take less memory or time that leave its answers as they are.

They change networks in place, after the adapter is attached. Nothing here knows a family.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from trainer.core.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from trainer.networks.held import HeldLinear


class Recompute:
    """Runs a block so that its activations are made again in the backward pass.

    Some blocks are run as they are, evenly spread, when `share` is below 1.

    Args:
        share: Of the blocks, from 0 to 1.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._numbers: dict[Any, int] = {}

    def __call__(self, block: Callable[..., Any], *inputs: Any) -> Any:
        from torch.utils.checkpoint import checkpoint

        number = self._numbers.setdefault(block, len(self._numbers))
        if int((number + 1) * self._share) == int(number * self._share):
            return block(*inputs)
        return checkpoint(block, *inputs, use_reentrant=False)


def offload(network: nn.Module, share: float, device: str) -> int:
    """Let the linear layers of the last blocks wait in main memory; how many do.

    Done before an adapter is attached, and before the network is moved to the device.

    Where the device has streams, the next layer's weight is on its way while one computes.

    Args:
        network: Its layers are exchanged where they hold plain weights.
        share: Of the numbered blocks' layers, from 0 to 1.
        device: Where the network computes.

    Raises:
        ConfigError: The weights are in 4 bits, which cannot be moved for each product.
    """
    import torch
    from torch import nn

    from trainer.networks.held import HeldLinear, hold_plain, suits

    layers = [(path, layer) for path, layer in network.named_modules() if suits(path, layer)]
    waiting = layers[len(layers) - round(share * len(layers)) :]
    chain: list[HeldLinear] = []
    for path, layer in waiting:
        if not isinstance(layer, HeldLinear):
            if type(layer) is not nn.Linear:
                raise ConfigError(
                    f"{type(layer).__name__} weights cannot wait in main memory",
                    where="memory.offload",
                    hint="memory.base = 'int8' or 'fp8', or memory.offload = 0",
                )
            parent, _, name = path.rpartition(".")
            setattr(network.get_submodule(parent), name, hold_plain(layer))
        held = cast("HeldLinear", network.get_submodule(path))
        held.wait(pinned=device.startswith("cuda"))
        chain.append(held)
    courier = Courier(chain, torch.device(device))
    for layer in chain:
        layer.fetch = courier.fetch
    return len(chain)


class Courier:
    """Brings weights to a device, and the next one before it is asked for.

    Args:
        layers: In the order in which a forward pass needs them.
        device: Where to.
    """

    def __init__(self, layers: Sequence[HeldLinear], device: torch.device) -> None:
        import torch

        self._weights = [layer.weight for layer in layers]
        self._place = {weight: number for number, weight in enumerate(self._weights)}
        self._last = -1
        self._ahead: dict[int, Tensor] = {}
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def fetch(self, weight: Tensor, device: torch.device) -> Tensor:
        """The weight on the device; the one that follows in this direction is sent for."""
        number = self._place[cast("Any", weight)]
        brought = self._ahead.pop(number, None)
        self._ahead.clear()
        if brought is None:
            brought = weight.to(device, non_blocking=True)
        elif self._stream is not None:
            import torch

            torch.cuda.current_stream(device).wait_stream(self._stream)
            brought.record_stream(torch.cuda.current_stream(device))
        step = 1 if number >= self._last else -1
        self._last = number
        if self._stream is not None and 0 <= number + step < len(self._weights):
            self._send(number + step, device)
        return brought

    def _send(self, number: int, device: torch.device) -> None:
        import torch

        with torch.cuda.stream(self._stream):
            self._ahead[number] = self._weights[number].to(device, non_blocking=True)


def require_attention(backend: str) -> None:
    """Refuse a way to compute attention that Diffusers does not know.

    Raises:
        ConfigError: It does not; tells those that it does.
    """
    if backend == "auto":
        return
    from diffusers.models.attention_dispatch import AttentionBackendName

    known = [one.value for one in AttentionBackendName]
    if backend not in known:
        shown = sorted(name for name in known if not name.startswith("_"))
        raise ConfigError(
            f"there is no attention {backend!r}",
            where="compute.attention",
            hint=f"'auto', or one of Diffusers': {', '.join(shown)}",
        )


def attend_by(network: Any, backend: str) -> None:
    """Let attention be computed by one of Diffusers' backends, such as "flash" or "sage".

    Raises:
        ConfigError: There is no such backend, or its package is not installed.
    """
    try:
        network.set_attention_backend(backend)
    except (ValueError, RuntimeError, ImportError, AttributeError) as error:
        first = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"attention cannot be computed by {backend!r} here ({first})",
            where="compute.attention",
            hint="'auto'",
        ) from error


def compile_blocks(network: Any) -> None:
    """Compile the repeated blocks, once for all of a kind (torch.compile, regionally).

    Raises:
        ConfigError: The network has no such blocks.
    """
    if not getattr(network, "_repeated_blocks", None):
        raise ConfigError(
            f"a {type(network).__name__} has no repeated blocks that could be compiled",
            where="compute.compile",
            hint="compute.compile = false",
        )
    network.compile_repeated_blocks()
