"""The finished LoRA file is proven: opened again, compared, loaded, and seen to act.

A run is "completed" only after this. Nothing of the training process's own model is used:
the base model is read afresh, in fp32, once with the trained weights put in directly and
once with the file loaded as any other program would load it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.core.device import free_memory
from trainer.core.errors import AdapterError, ProofError
from trainer.core.events import Proven
from trainer.weights.attach import attach
from trainer.weights.files import read

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.core.device import Plan
    from trainer.job.config import JobConfig

TOLERANCE = 2 / 255
"""Largest difference of a pixel; a quarter of what the LoRA moves where that is less."""

ROUNDING = 1e-5
"""What the order of additions alone may make of a pixel."""

STEPS = 4
"""Denoising steps of the compared pictures: few, since rounding grows with every step."""

LARGEST = 256
"""Side of the compared pictures at most, px."""


def prove(
    job: JobConfig, plan: Plan, trained: dict[str, Tensor], path: Path, prompt: str
) -> Proven:
    """Check that the file is the trained adapter and does what it does.

    Args:
        job: What was asked; names the base model.
        plan: Where to load it; precision and packing are set aside.
        trained: The adapter as it is in memory (`Adapter.state`).
        path: The LoRA file.
        prompt: What the compared pictures show.

    Raises:
        ProofError: The file does not open, differs from `trained`, or does not act.
    """
    try:
        saved = read(path).weights(job.model.naming)
    except AdapterError as error:
        raise ProofError(
            f"the LoRA file does not open: {error.problem}", where=str(path)
        ) from error
    rounded = _require_same(saved.tensors, trained, path)
    _require_change(rounded, path)
    _require_alphas(job, saved.alphas, path)
    plain = replace(plan, precision="fp32", packed=False, checkpointing=False)
    base, direct = _with_adapter(job, plain, rounded, prompt)
    free_memory()
    loaded = _with_file(job, plain, path, prompt)
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
    modules = sum(1 for name in trained if name.endswith(".lora_B"))
    return Proven(
        path.name, modules, round(255 * float(moved.mean()), 3), round(255 * difference, 4)
    )


def _require_same(
    saved: dict[str, Tensor], trained: dict[str, Tensor], path: Path
) -> dict[str, Tensor]:
    """Every tensor of the file must be the trained one, rounded to the file's format."""
    if saved.keys() != trained.keys():
        odd = sorted(saved.keys() ^ trained.keys())
        raise ProofError(
            f"the LoRA file has other modules than were trained, for one {odd[0]!r}",
            where=str(path),
        )
    for name, value in trained.items():
        if saved[name].shape != value.shape:
            raise ProofError(f"{name!r} has another shape in the LoRA file", where=str(path))
        if not bool((saved[name] == value.to(saved[name].dtype)).all()):
            raise ProofError(f"{name!r} has other values in the LoRA file", where=str(path))
    return {name: saved[name].float() for name in trained}


def _require_alphas(job: JobConfig, saved: dict[str, float], path: Path) -> None:
    wrong = [name for name, alpha in saved.items() if not math.isclose(alpha, job.adapter.alpha)]
    if wrong:
        raise ProofError(
            f"{wrong[0]!r} has alpha {saved[wrong[0]]:g} in the LoRA file, and was trained with "
            f"{job.adapter.alpha:g}",
            where=str(path),
        )


def _require_change(trained: dict[str, Tensor], path: Path) -> None:
    still = [n for n, value in trained.items() if n.endswith(".lora_B") and not bool(value.any())]
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
    adapter = attach(model, job.adapter, text_encoder=job.text_encoder.train, seed=0)
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
