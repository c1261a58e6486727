"""Reading one network of a model from a file that holds others too, a tensor at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainer.core.errors import ModelError
from trainer.families.reading import fill, hold_all, placed, require_finite, tied

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.core.device import Bits, Plan
    from trainer.families.single.pending import Pending


def read_pieces(
    network: Any, pieces: Mapping[str, Pending], plan: Plan, bits: Bits, *, waiting: float
) -> Any:
    """The network, whose tensors lie among others in one file, as `read_network` gives it.

    Args:
        network: On torch's meta device.
        pieces: What each of its tensors is read from; one that is another's may be left out.
        plan: Tells the format, and where to.
        bits: How to hold the weights of its linear layers.
        waiting: Share of its blocks whose weights stay in main memory.

    Raises:
        ModelError: A tensor is missing, is not the network's, has another size, or holds NaN or
            infinite values.
    """
    require_fit(network, pieces)
    where = replace(plan, device="cpu") if waiting else plan
    file = next(iter(pieces.values())).file
    if any(buffer.is_meta for buffer in _unsaved(network)):
        state = {name: piece.read().to(plan.dtype, copy=True) for name, piece in pieces.items()}
        require_finite(state.items(), file)
        network = type(network).from_pretrained(
            None, config=network.config, state_dict=state, torch_dtype=plan.dtype
        )
        if bits != "plain":
            hold_all(network, where, bits)
    else:
        tensors = ((name, piece.read()) for name, piece in pieces.items())
        fill(network, tensors, where, bits, where=file)
        if tied(network):
            network.tie_weights()
    return placed(network, plan, waiting)


def require_fit(network: Any, pieces: Mapping[str, Pending]) -> None:
    """Check names and sizes against a network on torch's meta device; nothing is read.

    Raises:
        ModelError: A tensor is missing, is not the network's, or has another size.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    others = tied(network)
    absent = sorted(wanted.keys() - pieces.keys() - others)
    odd = sorted(pieces.keys() - wanted.keys() - others)
    wrong = [n for n, piece in pieces.items() if wanted.get(n, piece.shape) != piece.shape]
    if not (absent or odd or wrong):
        return
    file = str(next(iter(pieces.values())).file)
    kind = type(network).__name__
    if absent:
        problem = f"{len(absent)} tensors of its {kind} are missing, the first is {absent[0]!r}"
        raise ModelError(problem, where=file, hint="download the model again")
    if odd:
        name = pieces[odd[0]].name
        raise ModelError(
            f"{len(odd)} of its tensors are not a {kind}'s, the first is {name!r}",
            where=file,
            hint="a model of this family, as it was published",
        )
    raise ModelError(
        f"its {pieces[wrong[0]].name!r} is {pieces[wrong[0]].shape}, and the {kind} that its "
        f"settings describe has {wanted[wrong[0]]} there",
        where=file,
        hint="model.parts_from = a folder whose settings are this model's own, or leave it out",
    )


def _unsaved(network: Any) -> Iterator[Tensor]:
    """Buffers that no file holds, since the network makes them."""
    saved = network.state_dict().keys()
    return (buffer for name, buffer in network.named_buffers() if name not in saved)
