"""What is odd about a translated job as a whole, whoever wrote it."""

from __future__ import annotations

from trainer.job.importers.account import Draft
from trainer.optimizers.base import optimizers

_HIGHEST = 5e-4
"""Learning rate times alpha / rank: published recipes lie between 6e-6 and 4e-4."""
_FAMILIES = {"sd": "Stable Diffusion 1 or 2", "sdxl": "SDXL", "flux": "FLUX.1", "sd3": "SD 3"}


def judge(draft: Draft) -> None:
    """Mark keys that together mean what was hardly meant, and settle what would not train."""
    _rate_and_scale(draft)
    _prior_has_words(draft)
    _one_length(draft)


def unsupported_family(draft: Draft, key: tuple[str, ...], name: str) -> None:
    """Say that the file's model is none of ours, so that it is not trained as another."""
    known = ", ".join(_FAMILIES.values())
    draft.tell(key, "explained", f"unsupported: {name}; Sweetspot trains {known}")
    draft.refuse("model.kind", f"the file is for {name}, which Sweetspot does not train")


def whole_model(draft: Draft, key: tuple[str, ...], what: str) -> None:
    """Say that the file does not train a LoRA."""
    draft.tell(
        key,
        "suspicious",
        f"this trains {what} there; here a LoRA is trained, which takes about ten times the "
        "learning rate of whole weights",
    )


def _rate_and_scale(draft: Draft) -> None:
    rate, alpha = draft.chosen.get("optimizer.learning_rate"), draft.chosen.get("adapter.alpha")
    rank = draft.chosen.get("adapter.rank", 16)
    if not rate or not alpha:
        return
    if alpha > 2 * rank:
        draft.doubt("adapter.alpha", f"alpha is {alpha / rank:g} times the rank; 1 is usual")
    if draft.chosen.get("optimizer.kind", optimizers.default) != "adamw" or rate >= 0.01:
        return
    acting = rate * alpha / rank
    if acting > _HIGHEST:
        draft.doubt(
            "optimizer.learning_rate",
            f"with alpha / rank it acts like {acting:.2g}; recipes lie between 6e-6 and 4e-4",
        )
    elif alpha <= rank / 4:
        draft.doubt(
            "optimizer.learning_rate",
            f"it is tuned for alpha / rank = {alpha / rank:g}: if you set alpha to the rank, "
            f"take {acting:.2g} instead",
        )


def _prior_has_words(draft: Draft) -> None:
    chosen = draft.chosen
    if not chosen.get("prior.enabled"):
        return
    if not chosen.get("dataset.class_word") and not chosen.get("prior.prompt"):
        for ours in ("prior.folder", "prior.enabled"):
            draft.doubt(
                ours,
                "prior.enabled is left off: it needs words for the class, which the file does "
                "not have; set dataset.class_word or prior.prompt with it",
            )
        draft.drop("prior.enabled")


def _one_length(draft: Draft) -> None:
    if "schedule.epochs" in draft.chosen and "schedule.steps" in draft.chosen:
        draft.doubt("schedule.epochs", "the number of steps decides")
        draft.drop("schedule.epochs")
