"""Gradients of a batch by several threads that each take the next small part when free.

On a busy machine this is much faster than letting one operation use all cores: an operation
waits for its slowest core, a queue does not. The caller should use one thread itself.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

import torch
from torch import Tensor, nn


class Spread:
    """A pool of one-core threads that add up gradients."""

    def __init__(self, parameters: Sequence[nn.Parameter], threads: int = 2) -> None:
        self.parameters = list(parameters)
        self.pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))

    def backward(self, losses: Sequence[Callable[[], tuple[Tensor, Tensor]]]) -> Tensor:
        """Set each parameter's `grad` to the mean over `losses`.

        Args:
            losses: Each returns, when called, the loss of its part and detached numbers to report.

        Returns:
            The mean of the numbers.
        """
        numbers = []
        for done in as_completed([self.pool.submit(self.gradients, loss) for loss in losses]):
            gradients, told = done.result()
            numbers.append(told)
            if len(numbers) == 1:
                for parameter, gradient in zip(self.parameters, gradients, strict=True):
                    parameter.grad = gradient
            else:
                torch._foreach_add_([p.grad for p in self.parameters], list(gradients))
        torch._foreach_div_([p.grad for p in self.parameters], len(losses))
        return torch.stack(numbers).mean(dim=0)

    def gradients(
        self, loss_of: Callable[[], tuple[Tensor, Tensor]]
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """One part's gradients and numbers; weights are cast anew, as threads share no cache."""
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            loss, told = loss_of()
        return torch.autograd.grad(loss, self.parameters), told
