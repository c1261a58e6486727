"""What pictures are asked for: as a person says it, and settled to the last value.

It renders nothing and knows no folder of pictures; base models and LoRAs are known by their
headers alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from trainer.core.device import Precision
from trainer.core.errors import AdapterError, ConfigError, UserError
from trainer.core.schema import Config, Knob
from trainer.families.base import Guidance, ModelConfig, families
from trainer.job.config import JobConfig
from trainer.job.file import load_job
from trainer.job.memory import MemoryConfig
from trainer.job.run import Run, runs_in

DEMO = Path(__file__).parents[2] / "presets" / "demo" / "demo-style.toml"
MOST_LORAS = 8
_STEPS = 25
_DRAWN = 2**31
"""Seeds that are drawn are below this, so that people can read and type them."""


class LoraUse(Config):
    """A LoRA on a picture."""

    file: str
    """The .safetensors file."""

    strength: Annotated[float, Field(ge=-10, le=10)] = 1.0
    """How strongly it acts; 1 is as it was trained, 0 is not at all."""


class Asked(Config):
    """What a person asks for. What is left empty is as the LoRA's own run has it."""

    prompt: Annotated[str, Field(max_length=20_000)]
    """What the pictures show."""

    negative: Annotated[str, Field(max_length=20_000), Knob(label="Not to show")] = ""
    """What they should not show."""

    seed: Annotated[int | None, Field(ge=0, lt=2**63)] = None
    """Fixes the first picture, and the next are counted up from it. Empty: one is drawn."""

    pictures: Annotated[int, Field(ge=1, le=64)] = 1
    """How many, each with the next seed."""

    width: Annotated[int | None, Field(ge=16, le=4096), Knob(unit="px")] = None
    """Empty: the size that the LoRA was trained at, or the model's own."""

    height: Annotated[int | None, Field(ge=16, le=4096), Knob(unit="px")] = None
    """Empty: the same as the width."""

    steps: Annotated[int | None, Field(ge=1, le=1000)] = None
    """Denoising steps."""

    guidance: Guidance = None

    loras: Annotated[tuple[LoraUse, ...], Field(max_length=MOST_LORAS)] = ()
    """LoRAs that act together."""

    base: str = ""
    """Base model: demo, a folder, a .safetensors file, a hub name. Empty: the LoRA's own where
    that is known, else the demo model."""


class Order(Config):
    """The same, settled: nothing is left to be chosen when it is rendered."""

    prompt: str
    negative: str
    seed: int
    pictures: int
    width: int
    height: int
    """0 is the model's own, for both."""
    steps: int
    guidance: float
    loras: tuple[LoraUse, ...] = ()
    model: Annotated[ModelConfig, families] = Field(default_factory=families.make)
    memory: MemoryConfig = MemoryConfig()
    device: str = "auto"
    precision: Precision = "auto"
    control: bool = False
    """Whether it is only wanted to compare another picture with."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where pictures are rendered here.

    Attributes:
        runs: The runs folder.
    """

    runs: Path
    device: str = "auto"
    precision: Precision = "auto"


@dataclass(frozen=True, slots=True)
class Ground:
    """What a picture stands on, and what is usual there.

    Attributes:
        known: Whether the LoRA's own run told it.
        side: 0 is the model's own.
    """

    model: ModelConfig
    memory: MemoryConfig
    steps: int
    guidance: float
    side: int
    known: bool = False


def settle(asked: Asked, machine: Machine) -> Order:
    """All that is left open, chosen; the files looked at.

    Raises:
        UserError: A LoRA or the base model cannot be used; `where` is the setting.
    """
    if not asked.prompt.strip():
        raise ConfigError("nothing says what to render", where="prompt", hint="write a few words")
    files = [_lora(use, index) for index, use in enumerate(asked.loras)]
    ground = ground_of(asked.base, [Path(use.file) for use in files], machine.runs)
    _require_fit(files, ground.model)
    ground.model.require_negative(asked.negative, where="negative")
    width = asked.width or ground.side
    return Order(
        prompt=asked.prompt.strip(),
        negative=asked.negative.strip(),
        seed=secrets.randbelow(_DRAWN) if asked.seed is None else asked.seed,
        pictures=asked.pictures,
        width=width,
        height=asked.height or width,
        steps=asked.steps or ground.steps,
        guidance=ground.guidance if asked.guidance is None else asked.guidance,
        loras=tuple(files),
        model=ground.model,
        memory=ground.memory,
        device=machine.device,
        precision=machine.precision,
    )


def ground_of(base: str, loras: Sequence[Path], runs: Path) -> Ground:
    """The base model that is named, else that of the first LoRA whose run is known.

    Raises:
        ModelError: Its family cannot be told.
    """
    if not base:
        own = next(filter(None, (run_of(path, runs) for path in loras)), None)
        return _of_job(own.job, known=True) if own else _of_job(_demo())
    if base == "demo":
        return _of_job(_demo())
    for run in runs_in(runs):
        job = _job_or_none(run)
        if job is not None and job.model.base == base:
            return _of_job(job)
    return _of_model(base)


def run_of(lora: Path, runs: Path) -> Run | None:
    """The run in whose folder the file lies."""
    path = lora.absolute()
    known = path.is_relative_to(runs.absolute()) and path.parent.name == "lora"
    run = Run(path.parent.parent)
    return run if known and run.job_path.is_file() and _job_or_none(run) else None


def lora_path(text: str) -> Path:
    """A LoRA file that a person named.

    Raises:
        AdapterError: It is a network path, or not there.
    """
    named = text.strip().strip('"')
    if named.startswith(("\\\\", "//")):
        raise AdapterError(
            "network paths are not opened", where=named, hint="map it to a drive, or copy it"
        )
    path = Path(named).expanduser()
    if not named or not path.is_absolute():
        raise AdapterError("this is no whole path", where=named, hint="/folder/name.safetensors")
    return path


def _lora(use: LoraUse, index: int) -> LoraUse:
    try:
        path = lora_path(use.file)
        _family_of(path)
    except AdapterError as error:
        raise AdapterError(error.problem, where=f"loras.{index}.file", hint=error.hint) from None
    return use.model_copy(update={"file": str(path)})


def _require_fit(files: Sequence[LoraUse], model: ModelConfig) -> None:
    from trainer.weights.family import require_family

    for index, use in enumerate(files):
        path = Path(use.file)
        try:
            require_family(_family_of(path), model.naming, path)
        except AdapterError as error:
            raise AdapterError(
                error.problem, where=f"loras.{index}.file", hint=error.hint
            ) from None


def _family_of(path: Path) -> str:
    from trainer.weights.files import read

    return read(path).family


def _of_job(job: JobConfig, *, known: bool = False) -> Ground:
    told = job.analysis
    return Ground(
        model=job.model,
        memory=job.memory,
        steps=told.steps,
        guidance=job.model.guidance_or(told.guidance),
        side=told.side or job.model.resolution,
        known=known,
    )


def _of_model(base: str) -> Ground:
    from trainer.families.finding import config_of

    try:
        model = config_of(base)
    except UserError as error:
        raise type(error)(error.problem, where="base", hint=error.hint) from None
    return Ground(model, MemoryConfig(), _STEPS, model.guidance_or(None), 0)


def _demo() -> JobConfig:
    return load_job(DEMO)


def _job_or_none(run: Run) -> JobConfig | None:
    """The job; None where another version wrote it, or it is gone."""
    try:
        return run.job
    except (UserError, OSError):
        return None


def plain(order: Order) -> dict[str, Any]:
    """The order as it is kept."""
    return order.model_dump(mode="json")
