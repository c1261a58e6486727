"""Settings that the families of the flow-matching kind share (FLUX.1, Stable Diffusion 3)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from trainer.core.schema import Config, Knob

_BARS = "▁▂▃▄▅▆▇█"
_COLUMNS = 20


class FlowConfig(Config):
    """Where between picture and noise is trained, and how the answers are weighed."""

    sampling: Annotated[
        Literal["logit_normal", "uniform"],
        Knob(label="Times", advanced=True, why="The SD3 paper's best; Diffusers and BFL use it."),
    ] = "logit_normal"
    """How times between picture (0) and noise (1) are drawn: mostly from the middle, or evenly."""

    mean: Annotated[
        float, Field(ge=-5, le=5), Knob(label="Mean of the logit", advanced=True, why="Balanced.")
    ] = 0.0
    """Middle of the logit-normal: below 0 trains details more, above 0 composition."""

    spread: Annotated[
        float,
        Field(gt=0, le=10),
        Knob(label="Spread of the logit", advanced=True, why="The SD3 paper's value."),
    ] = 1.0
    """Width of the logit-normal: smaller stays closer to the middle."""

    shift: Annotated[
        float | None,
        Field(gt=0, le=100),
        Knob(label="Shift of times", advanced=True, why="Trains the times that are rendered."),
    ] = None
    """Pushes times towards noise when above 1. Empty: the shift that the model's own scheduler
    renders with at each picture's size, 3 or thereabouts at 1024 px."""

    weighting: Annotated[
        Literal["none", "sigma_sqrt", "cosmap", "picture"],
        Knob(label="Loss weighting", advanced=True, why="The plain loss, as in the SD3 paper."),
    ] = "none"
    """How much times count: all alike, near-clean pictures by far the most, the middle most, or
    noisy pictures most (`picture`: the error of the picture that the answer means, which is what
    Diffusers' and sd-scripts' trainers of Stable Diffusion 3 minimise)."""

    def unused(self) -> list[str]:
        """Sentences on settings that are set and mean nothing beside the others."""
        plain = FlowConfig()
        if self.sampling != "uniform" or (self.mean, self.spread) == (plain.mean, plain.spread):
            return []
        return [
            "model.flow.mean and model.flow.spread are for logit-normal times; even ones "
            "have neither"
        ]


def shift(asked: float | None, made: Any, places: int) -> float:
    """How far times are pushed towards noise: as asked, else as is rendered at so many places."""
    from trainer.diffusion import flow

    if asked is not None:
        return asked
    if not made.use_dynamic_shifting:
        return float(made.shift)
    return flow.shift_of(
        places,
        low=(made.base_image_seq_len, made.base_shift),
        high=(made.max_image_seq_len, made.max_shift),
    )


def sketch(config: FlowConfig, shift: float) -> str:
    """How densely times are drawn, from picture to noise, in words and one line of bars."""
    import torch

    from trainer.diffusion import flow

    heights = torch.tensor(densities(config, shift, _COLUMNS))
    bars = "".join(_BARS[int(height)] for height in heights / heights.max() * (len(_BARS) - 1))
    logit = config.mean if config.sampling == "logit_normal" else 0.0
    middle = float(flow.shifted(torch.sigmoid(torch.tensor(logit)), shift))
    drawn = config.sampling.replace("_", "-")
    return f"picture {bars} noise ({drawn}, shifted by {shift:.3g}; half are above {middle:.2f})"


def densities(config: FlowConfig, shift: float, count: int = 160) -> tuple[float, ...]:
    """How densely times are drawn at the middles of `count` equal parts of (0, 1)."""
    import torch

    from trainer.diffusion import flow

    times = (torch.arange(count) + 0.5) / count
    heights = flow.density(
        times, config.sampling, mean=config.mean, spread=config.spread, shift=shift
    )
    return tuple(heights.tolist())


def refuse_noise(tree: Any, family: str) -> Any:
    """The settings as they are, or in one sentence why those of noise prediction do not fit."""
    told = tree.get("noise") if isinstance(tree, dict) else None
    if told is None:
        return tree
    names = " and ".join(f"noise.{name}" for name in told) if isinstance(told, dict) else "noise"
    raise ValueError(
        f"{names or 'noise'} means nothing for {family}, which is trained by flow matching and not "
        "by noise prediction; leave model.noise out, model.flow has its settings"
    )
