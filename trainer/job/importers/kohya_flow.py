"""How sd-scripts draws and weighs times for FLUX.1 and Stable Diffusion 3, in our terms."""

from __future__ import annotations

from typing import Any

from trainer.job.importers.kohya_args import Args

_SAMPLINGS: dict[str, tuple[str, bool, float | None]] = {
    "uniform": ("uniform", False, 1.0),
    "sigmoid": ("logit_normal", True, 1.0),
    "shift": ("logit_normal", True, 3.0),
    "flux_shift": ("logit_normal", True, None),
}
"""Theirs -> how times are drawn, whether sigmoid_scale counts, and how they are shifted."""
_NAMES = ("timestep_sampling", "sigmoid_scale", "discrete_flow_shift", "training_shift",
          "weighting_scheme", "logit_mean", "logit_std", "mode_scale")  # fmt: skip


def decide_flow(args: Args) -> None:
    """Tell of times, shift, weighting and guidance."""
    if args.draft.chosen.get("model.kind") == "flux":
        _flux_times(args)
        _flux_weighting(args)
        _guidance(args)
    else:
        _scheme(args)
        _shift(args, "training_shift", 1.0)
        _sd3_weighting(args)
    for name in _NAMES:
        if name in args.at and args.key(name) not in args.draft.lines:
            said = "it decides nothing with the kind of times that is chosen"
            args.draft.tell(args.key(name), "explained", said)


def _flux_times(args: Args) -> None:
    word = str(args.get("timestep_sampling") or "sigma").lower()
    if word not in _SAMPLINGS:
        if "timestep_sampling" in args.at:
            args.draft.tell(
                args.key("timestep_sampling"),
                "explained",
                "`sigma`: weighting_scheme says how times are drawn, discrete_flow_shift shifts",
            )
        _scheme(args)
        _shift(args, "discrete_flow_shift", 3.0)
        return
    kind, scaled, shift = _SAMPLINGS[word]
    args.draft.take(args.key("timestep_sampling"), "model.flow.sampling", kind)
    if scaled and args.number("sigmoid_scale"):
        args.take("sigmoid_scale", "model.flow.spread")
    if word == "shift":
        _shift(args, "discrete_flow_shift", 3.0)
    elif shift is not None:
        args.draft.take(args.key("timestep_sampling"), "model.flow.shift", shift, "none there")


def _scheme(args: Args) -> None:
    draft, word = args.draft, str(args.get("weighting_scheme") or "uniform").lower()
    kind = "logit_normal" if word == "logit_normal" else "uniform"
    if args.get("weighting_scheme") is None:
        draft.assume("model.flow.sampling", kind, "sd-scripts draws times evenly")
        return
    odd = "unsupported: mode; times are drawn evenly" if word == "mode" else ""
    draft.take(args.key("weighting_scheme"), "model.flow.sampling", kind, odd=odd)
    if kind == "logit_normal":
        args.take("logit_mean", "model.flow.mean")
        args.take("logit_std", "model.flow.spread")


def _shift(args: Args, name: str, default: float) -> None:
    if args.number(name):
        args.take(name, "model.flow.shift")
    else:
        args.draft.assume("model.flow.shift", default, f"sd-scripts' {name}")


def _flux_weighting(args: Args) -> None:
    word = str(args.get("model_prediction_type") or "sigma_scaled").lower()
    if word == "raw":
        args.draft.take(args.key("model_prediction_type"), "model.flow.weighting", "none")
        return
    told = (
        f"unsupported: {word}; the answer is taken as it is (`raw`), which sd-scripts' own guide "
        "for FLUX.1 advises"
    )
    if "model_prediction_type" in args.at:
        args.draft.tell(args.key("model_prediction_type"), "suspicious", told)


def _sd3_weighting(args: Args) -> None:
    """sd-scripts minimises the error of the picture that the answer means."""
    word = str(args.get("weighting_scheme") or "uniform").lower()
    ours: Any = "none" if word == "sigma_sqrt" else "picture"
    if word == "cosmap":
        args.draft.doubt("model.flow.sampling", "unsupported: cosmap times the picture's error")
    args.draft.assume("model.flow.weighting", ours, "sd-scripts' error is the picture's")


def _guidance(args: Args) -> None:
    asked = args.number("guidance_scale")
    if asked is None:
        args.draft.assume("model.guidance", 3.5, "sd-scripts' default, though its guide says 1.0")
        return
    odd = "" if asked <= 1 else "sd-scripts' own guide says 1.0 for training FLUX.1 dev"
    args.draft.take(args.key("guidance_scale"), "model.guidance", asked, odd=odd)
