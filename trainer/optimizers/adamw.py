"""AdamW, with its state in 32 or 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from trainer.core.schema import Knob
from trainer.optimizers.base import OptimizerConfig, optimizers

if TYPE_CHECKING:
    from torch.optim import Optimizer


@optimizers.add
class AdamwConfig(OptimizerConfig):
    """Adam with decoupled weight decay (arXiv:1711.05101)."""

    kind: Literal["adamw"] = "adamw"
    beta1: Annotated[float, Field(ge=0, lt=1), Knob(advanced=True, why="AdamW's default.")] = 0.9
    """How long the mean of past gradients is remembered."""

    beta2: Annotated[float, Field(ge=0, lt=1), Knob(advanced=True, why="AdamW's default.")] = 0.999
    """How long the mean of past squared gradients is remembered."""

    eight_bit: Annotated[
        bool,
        Knob(
            label="8-bit state",
            advanced=True,
            why="A LoRA's state is small; it pays at high ranks on small cards.",
        ),
    ] = False
    """Keep the optimizer's state in 8 bits, about a quarter of its memory. Needs bitsandbytes;
    where that does not work on the device, plain AdamW is used and the run says so."""

    paged: Annotated[
        bool,
        Knob(
            label="Paged state",
            advanced=True,
            why="It is needed at the very edge only.",
        ),
    ] = False
    """Let the 8-bit state move to main memory when the card is full; slower then. CUDA only."""

    @property
    def moments(self) -> float:
        return 0.5 if self.eight_bit else 2.0

    def build(self, groups: list[dict[str, Any]], notice: Callable[[str], None]) -> Optimizer:
        betas = (self.beta1, self.beta2)
        if self.eight_bit:
            problem = eight_bit_problem(groups[0]["params"][0].device.type)
            if problem is None:
                from bitsandbytes.optim import AdamW8bit, PagedAdamW8bit

                paged = self.paged and groups[0]["params"][0].device.type == "cuda"
                if self.paged and not paged:
                    notice("paged state works on CUDA cards only; it is kept where it is")
                cls = PagedAdamW8bit if paged else AdamW8bit
                return cls(groups, betas=betas, weight_decay=self.weight_decay)
            notice(f"8-bit AdamW is not usable here ({problem}); plain AdamW is used instead")
        elif self.paged:
            notice("optimizer.paged is for optimizer.eight_bit = true; the plain state stays put")
        from torch.optim import AdamW

        return AdamW(groups, betas=betas, weight_decay=self.weight_decay, fused=True)


def eight_bit_problem(device: str) -> str | None:
    """Why bitsandbytes' AdamW cannot be used on the device; None when one real step worked."""
    try:
        import torch
        from bitsandbytes.optim import AdamW8bit

        weight = torch.nn.Parameter(torch.ones(4096, device=device))
        weight.grad = torch.ones_like(weight)
        AdamW8bit([weight], lr=0.1).step()
        moved = bool((weight < 1).all())
    except (ImportError, RuntimeError, OSError, AttributeError, NotImplementedError) as error:
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return None if moved else "a trial step changed nothing"
