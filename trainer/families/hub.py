"""Base models that lie in a hub repository: which of their files are fetched, and where to."""

from __future__ import annotations

from pathlib import Path

from trainer.core.errors import ModelError

_FILES = (
    "model_index.json",
    "*/*.json",
    "*/*.txt",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
    "text_encoder_2/model.safetensors",
)


def snapshot(base: str) -> Path:
    """The local copy of a hub repository, fetched when it is not there yet.

    Raises:
        ModelError: It is not there, and cannot be fetched.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = list(_FILES)
    try:
        return Path(snapshot_download(base, allow_patterns=patterns, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        pass
    try:
        return Path(snapshot_download(base, allow_patterns=patterns))
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise ModelError(
            f"there is no folder {base!r}, and it cannot be had from the hub either",
            where="model.base",
            hint="a folder in Diffusers format, or 'demo'",
        ) from error
