"""The finished LoRA files are proven: opened again, compared, loaded, and seen to act.

A run is "completed" only after this. Nothing of the training process's own model is used:
the base model is read afresh, in fp32, once with the trained weights put in directly and
once with each file loaded as any other program would load it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.core.device import free_memory, memory_here
from trainer.core.errors import (
    AdapterError,
    ProofError,
    ResourceError,
    UserError,
    is_out_of_memory,
)
from trainer.core.events import Emit, Proven, Warned
from trainer.engine.memory import proof, proof_thrift
from trainer.weights.attach import attach
from trainer.weights.files import read

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.core.device import Plan
    from trainer.job.config import JobConfig
    from trainer.weights.layouts import Layout, Weights

TOLERANCE = 2 / 255
"""Largest difference of a pixel; a quarter of what the LoRA moves where that is less."""

ROUNDING = 1e-5
"""What the order of additions alone may make of a pixel."""

STEPS = 4
"""Denoising steps of the compared pictures: few, since rounding grows with every step."""

_ALWAYS = 2**30
"""Bytes of a proof that is tried exactly whatever seems to be free."""

LARGEST = 256
"""Side of the compared pictures at most, px."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be proven.

    Attributes:
        trained: The adapter as it is in memory (`Adapter.state`).
        files: The LoRA files that were made of it, and their layouts.
        prompt: What the compared pictures show.
    """

    trained: dict[str, Tensor]
    files: Mapping[Path, Layout]
    prompt: str


def prove(job: JobConfig, plan: Plan, asked: Asked, emit: Emit) -> list[Proven]:
    """Check that the files are the trained adapter and do what it does.

    The model is read in fp32. What does not fit is proven on weights in 8 bits, then on the CPU.

    Args:
        job: What was asked; names the base model.
        plan: Where to load it; precision and packing are set aside.
        asked: The trained weights and their files.
        emit: Told when the proof moves to the CPU.

    Raises:
        ProofError: A file does not open, differs from what was trained, or does not act.
        ResourceError: Not even the CPU has the memory.
    """
    for place, told in _places(job, plan):
        if told:
            emit(Warned(told))
        try:
            return _prove(job, place, asked)
        except (MemoryError, RuntimeError, UserError) as error:
            if not is_out_of_memory(error):
                raise
        free_memory()
    raise ResourceError(
        "the memory is too small to prove the LoRA file",
        hint="close other programs and resume the run; all steps are done, and only the proof "
        "is repeated",
    )


def _places(job: JobConfig, plan: Plan) -> Iterator[tuple[Plan, str]]:
    """Where the proof may be done: exactly, then thriftily; and what to tell of it.

    A card that is full says so and can be tried; a machine that is full kills the process.
    """
    plain = replace(plan, precision="fp32", packed=False, checkpointing=False)
    exact = replace(plain, thrift=proof_thrift(plan.thrift, spare=False))
    spared = replace(plain, thrift=proof_thrift(plan.thrift, spare=True))
    if plan.device != "cpu" or _fits(job, exact):
        yield exact, ""
    if spared != exact:
        yield spared, "the proof does not fit in fp32, so it is done on weights in 8 bits"
    if plan.device != "cpu":
        told = f"the proof does not fit {plan.device}, so it is done on the CPU, which is slow"
        yield replace(spared, device="cpu"), told


def _fits(job: JobConfig, plan: Plan) -> bool:
    needed = proof(job, plan, job.model.outline(job.adapter.targets))
    return needed <= max(memory_here(plan.device), _ALWAYS)


def _prove(job: JobConfig, plan: Plan, asked: Asked) -> list[Proven]:
    saved = [_reopened(job, asked.trained, path, kind) for path, kind in asked.files.items()]
    base, direct = _with_adapter(job, plan, saved[0], asked.prompt)
    proven: list[Proven] = []
    for path in asked.files:
        free_memory()
        loaded = _with_file(job, plan, path, asked.prompt)
        moved, difference = _require_acts(base, direct, loaded, path)
        proven.append(Proven(path.name, len(asked.trained) // 2, moved, difference))
    return proven


def _require_acts(base: Any, direct: Any, loaded: Any, path: Path) -> tuple[float, float]:
    """How far the file moves the picture on average, and is off the trained model's, 0 to 255."""
    moved, difference = abs(loaded - base), float(abs(loaded - direct).max())
    if not float(moved.max()) > 0:
        raise ProofError(
            "a picture at strength 1 is the same as at strength 0: the LoRA file does nothing",
            where=str(path),
            hint="a higher optimizer.learning_rate, or more epochs",
        )
    if not difference < min(TOLERANCE, max(float(moved.max()) / 4, ROUNDING)):
        raise ProofError(
            f"a picture with the file differs from the trained model's by {255 * difference:.2f} "
            f"of 255, and the LoRA moves it by {255 * float(moved.max()):.2f}",
            where=str(path),
            hint="report this: the file and the trained weights are the same, but do not act so",
        )
    return round(255 * float(moved.mean()), 3), round(255 * difference, 4)


def _reopened(
    job: JobConfig, trained: dict[str, Tensor], path: Path, layout: Layout
) -> dict[str, Tensor]:
    """The file's tensors in fp32, when they are what was trained and change something."""
    try:
        file = read(path)
        saved = file.weights(job.model.naming)
    except AdapterError as error:
        raise ProofError(
            f"the LoRA file does not open: {error.problem}", where=str(path)
        ) from error
    if file.layout != layout:
        raise ProofError(
            f"the LoRA file has the layout {file.layout!r} and should have {layout!r}",
            where=str(path),
        )
    _require_alphas(saved, job.adapter.alpha if layout == "kohya" else None, path)
    _require_same(saved, trained, job.adapter.alpha, path)
    rounded = {name: saved.tensors[name].float() for name in trained}
    _require_change(rounded, path)
    return rounded


def _require_same(saved: Weights, trained: dict[str, Tensor], alpha: float, path: Path) -> None:
    """Every tensor must be the trained one, rounded to the file's format.

    Where the file tells another alpha than was trained with, B makes up for it, so that the
    change `B A alpha / rank` is the same.
    """
    if saved.tensors.keys() != trained.keys():
        odd = sorted(saved.tensors.keys() ^ trained.keys())
        raise ProofError(
            f"the LoRA file has other modules than were trained, for one {odd[0]!r}",
            where=str(path),
        )
    for name, value in trained.items():
        module, _, matrix = name.rpartition(".")
        wanted = value * (alpha / saved.alphas[module]) if matrix == "lora_B" else value
        found = saved.tensors[name]
        if found.shape != value.shape:
            raise ProofError(f"{name!r} has another shape in the LoRA file", where=str(path))
        if not bool((found.isfinite() & (found == wanted.to(found.dtype))).all()):
            raise ProofError(f"{name!r} has other values in the LoRA file", where=str(path))


def _require_alphas(saved: Weights, alpha: float | None, path: Path) -> None:
    """Each module must have this alpha, or its rank, which readers of Diffusers' layout take."""
    for name, a, _, found in saved:
        wanted = a.shape[0] if alpha is None else alpha
        if not math.isclose(found, wanted):
            raise ProofError(
                f"{name!r} has alpha {found:g} in the LoRA file, and should have {wanted:g}",
                where=str(path),
            )


def _require_change(saved: dict[str, Tensor], path: Path) -> None:
    still = [n for n, value in saved.items() if n.endswith(".lora_B") and not bool(value.any())]
    if still:
        raise ProofError(
            f"{len(still)} modules learned nothing (a zero update), the first is {still[0]!r}",
            where=str(path),
        )


def _with_adapter(
    job: JobConfig, plan: Plan, trained: dict[str, Tensor], prompt: str
) -> tuple[Any, Any]:
    """The picture of the base model, and of the base model with the trained weights put in."""
    model = job.model.load(plan)
    base = _picture(model, job, prompt)
    texts = job.text_encoder.chosen(model.text_targets)
    adapter = attach(model, job.adapter, text_encoders=texts, seed=0)
    adapter.load_state(trained)
    return base, _picture(model, job, prompt)


def _with_file(job: JobConfig, plan: Plan, path: Path, prompt: str) -> Any:
    """The picture of a fresh pipeline that has loaded the file through Diffusers' own door."""
    from trainer.engine.sampling import use_lora

    model = job.model.load(plan)
    use_lora(model, path)
    return _picture(model, job, prompt)


def _picture(model: Any, job: JobConfig, prompt: str) -> Any:
    from trainer.engine.sampling import Recipe, encode, render_arrays

    side = min(job.model.resolution, LARGEST) // model.size_step * model.size_step
    recipe = Recipe((max(side, model.size_step),) * 2, STEPS, guidance=1.0)
    return render_arrays(model, encode(model, [prompt], ""), [0], recipe)[0]
