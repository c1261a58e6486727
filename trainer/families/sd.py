"""Stable Diffusion 1.x and 2.x: one CLIP text encoder, a UNet, epsilon or velocity prediction."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from trainer.core.errors import ModelError
from trainer.core.files import hash_text
from trainer.families.base import (
    BaseRef,
    LoadedModel,
    ModelConfig,
    Outline,
    Resolution,
    families,
)
from trainer.families.folder import ModelFolder
from trainer.families.naming import Naming, PartNaming
from trainer.families.noising import NoiseConfig

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from torch import Generator, Tensor, nn

    from trainer.core.batch import Batch
    from trainer.core.device import Plan
    from trainer.diffusion.noise import Prediction


_UNET = """
    down_blocks mid_block up_blocks attentions resnets downsamplers upsamplers transformer_blocks
    attn1 attn2 to_q to_k to_v to_out ff net proj proj_in proj_out
    conv conv1 conv2 conv_shortcut time_emb_proj
    conv_in conv_out time_embedding linear_1 linear_2
"""
_CLIP = """
    text_model encoder layers self_attn q_proj k_proj v_proj out_proj mlp fc1 fc2
"""

NAMING = Naming(
    parts=(
        PartNaming("denoiser", kohya="lora_unet", diffusers="unet"),
        PartNaming(
            "text_encoder",
            kohya="lora_te",
            diffusers="text_encoder",
            inside="text_model.",
            also=("lora_te1",),
        ),
    ),
    words=frozenset((_UNET + _CLIP).split()),
)
"""Stable Diffusion 1.x and 2.x: kohya's layout keeps Diffusers' block names."""


@families.add
class SdConfig(ModelConfig):
    """Stable Diffusion 1.x or 2.x."""

    naming: ClassVar[Naming] = NAMING
    kind: Literal["sd"] = "sd"
    base: BaseRef = "demo"
    resolution: Resolution = 512
    noise: NoiseConfig = NoiseConfig()

    def outline(self, targets: str) -> Outline:
        import torch

        from trainer.families.measure import adapted, measure

        folder = ModelFolder.find(self.base, pipeline="StableDiffusionPipeline")
        unet = folder.empty("unet")
        words = folder.empty("text_encoder")
        vae = folder.empty("vae")
        _tokenizer(folder, words.config)
        _scheduler(folder, self.noise.prediction)
        native, step = _sides(unet.config, vae.config)
        side = self.resolution // 2 ** (len(vae.config.block_out_channels) - 1)
        with torch.device("meta"):
            latents = torch.empty(1, unet.config.in_channels, side, side, dtype=torch.bfloat16)
            times = torch.zeros(1, dtype=torch.long)
            context = torch.empty(
                1,
                words.config.max_position_embeddings,
                unet.config.cross_attention_dim,
                dtype=torch.bfloat16,
            )
        outline = measure(
            {"unet": unet, "text_encoder": words, "vae": vae},
            denoiser=unet,
            call=lambda: unet(latents, times, encoder_hidden_states=context).sample,
            pattern=Sd.targets.get(targets, targets),
            sides=(native, step),
        )
        return replace(outline, text_adapted=adapted(words, Sd.text_targets))

    def load(self, plan: Plan) -> Sd:
        return Sd(self, plan)


class Sd(LoadedModel):
    """A loaded Stable Diffusion 1.x or 2.x model."""

    targets: ClassVar[dict[str, str]] = {
        "attention": r".*\.attn[12]\.(to_q|to_k|to_v|to_out\.0)",
        "attention+ff": r".*\.(attn[12]\.(to_q|to_k|to_v|to_out\.0)|ff\.net\.(0\.proj|2))",
        "linear": r".*\.attentions\.\d+\.(proj_in|proj_out|.*\.(to_q|to_k|to_v|to_out\.0|proj|2))",
        "linear+conv": r"(down_blocks|mid_block|up_blocks)\..*"
        r"\.(to_q|to_k|to_v|to_out\.0|proj|2|proj_in|proj_out|conv|conv1|conv2|conv_shortcut"
        r"|time_emb_proj)",
    }
    text_targets: ClassVar[str] = r".*\.(self_attn\.(q_proj|k_proj|v_proj|out_proj))"

    def __init__(self, config: SdConfig, plan: Plan) -> None:
        import torch

        folder = ModelFolder.find(config.base, pipeline="StableDiffusionPipeline")
        self._folder = folder
        self._noise = config.noise
        self.plan = plan
        self.scheduler: Any = _scheduler(folder, config.noise.prediction)
        encoder = folder.part("text_encoder", plan)
        self.text_encoders = {"text_encoder": cast("nn.Module", encoder)}
        self.tokenizer: Any = _tokenizer(folder, encoder.config)
        self.denoiser = cast("nn.Module", folder.part("unet", plan))
        self.vae: Any = folder.part("vae", plan)
        if plan.device == "cpu":
            self.vae.decoder.to(memory_format=torch.channels_last)  # a third faster
        self._unet_config: Any = cast("Any", self.denoiser).config
        self._signals = self.scheduler.alphas_cumprod.to(plan.device)
        self.prediction = cast("Prediction", self.scheduler.config.prediction_type)
        self.image_key = folder.fingerprint("vae") + f":{plan.precision}"
        words = (folder.fingerprint("text_encoder"), folder.fingerprint("tokenizer"))
        self.text_key = hash_text(*words) + f":{plan.precision}"
        made = f"{type(self.scheduler).__name__}:{self.prediction}"
        self.render_key = f"{folder.fingerprint('scheduler')}:{made}"
        self.native_side, self.size_step = _sides(self._unet_config, self.vae.config)
        self.base_hash = folder.fingerprint("unet")

    @property
    def modelspec(self) -> dict[str, str]:
        second = self._unet_config.cross_attention_dim == 1024
        velocity = self.prediction == "v_prediction"
        if second:
            architecture = f"stable-diffusion-v2-{'768-v' if velocity else '512'}"
        else:
            architecture = "stable-diffusion-v1"
        return {
            "ss_base_model_version": f"sd_v{2 if second else 1}{'_v' if velocity else ''}",
            "ss_v2": str(second),
            "modelspec.architecture": f"{architecture}/lora",
            "modelspec.implementation": "diffusers",
            "modelspec.prediction_type": "v" if velocity else "epsilon",
        }

    def encode_images(self, pixels: Tensor) -> Tensor:
        import torch

        moments = self.vae.encode(pixels.to(self.plan.device, self.plan.dtype)).latent_dist
        both = torch.stack((moments.mean, moments.std), dim=1).float()
        return both * float(self.vae.config.scaling_factor)

    def encode_captions(self, captions: tuple[str, ...]) -> dict[str, Tensor]:
        encoder = self.text_encoders["text_encoder"]
        tokens = self.tokenizer(
            list(captions),
            padding="max_length",
            truncation=True,
            max_length=self.tokenizer.model_max_length,
            return_tensors="pt",
        ).input_ids
        return {"encoder_hidden_states": encoder(tokens.to(self.plan.device))[0]}

    def draw_noise(self, shape: tuple[int, int, int], generator: Generator) -> Tensor:
        from trainer.diffusion import noise

        return noise.draw_noise(shape, generator, offset=self._noise.offset)

    def draw_time(self, generator: Generator) -> Tensor:
        import torch

        return torch.randint(0, len(self._signals), (), generator=generator)

    def losses(self, batch: Batch) -> Tensor:
        from trainer.diffusion import noise

        noisy = noise.add_noise(batch.latents, batch.noise, self._signals, batch.times)
        wanted = noise.target(
            batch.latents, batch.noise, self._signals, batch.times, self.prediction
        )
        conditioning = batch.conditioning or self.encode_captions(batch.captions)
        dtype = self.plan.dtype
        answer = self.denoiser(
            noisy.to(dtype),
            batch.times,
            return_dict=False,
            **{name: value.to(dtype) for name, value in conditioning.items()},
        )[0]
        losses = (answer.float() - wanted).square().mean(dim=(1, 2, 3))
        if self._noise.min_snr_gamma:
            losses = losses * noise.min_snr_weights(
                self._signals, batch.times, self._noise.min_snr_gamma, self.prediction
            )
        return losses

    def see(self, latents: Tensor) -> Tensor:
        import torch

        from trainer.diffusion import noise
        from trainer.families.sight import LOOK_AT, see_through

        still = self.draw_noise(latents.shape[1:], torch.Generator().manual_seed(0))
        times = torch.full((len(latents),), int(LOOK_AT * len(self._signals)))
        noisy = noise.add_noise(latents, still.expand_as(latents), self._signals.cpu(), times)
        words = self.encode_captions(("",))["encoder_hidden_states"].expand(len(latents), -1, -1)
        device, dtype = self.plan.device, self.plan.dtype
        return see_through(
            self.denoiser, noisy.to(device, dtype), times.to(device), encoder_hidden_states=words
        )

    def render_arguments(
        self, positive: dict[str, Tensor], negative: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        return {
            "prompt_embeds": positive["encoder_hidden_states"],
            "negative_prompt_embeds": negative["encoder_hidden_states"],
        }

    def checkpoint_activations(self) -> None:
        cast("Any", self.denoiser).enable_gradient_checkpointing()

    def pipeline(self) -> DiffusionPipeline:
        from diffusers import StableDiffusionPipeline

        pipeline = StableDiffusionPipeline(
            vae=self.vae,
            text_encoder=self.text_encoders.get("text_encoder"),
            tokenizer=self.tokenizer,
            unet=self.denoiser,
            scheduler=type(self.scheduler).from_config(self.scheduler.config),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def release(self, part: str) -> None:
        if part == "captions":
            self.text_encoders = {}
        elif part == "images":
            self.vae.encoder = None


def _tokenizer(folder: ModelFolder, encoder: Any) -> Any:
    """The tokenizer, checked against the text encoder's configuration."""
    return folder.tokenizer(
        "tokenizer", tokens=encoder.vocab_size, length=encoder.max_position_embeddings
    )


def _scheduler(folder: ModelFolder, asked: str) -> Any:
    """The published scheduler, told what the denoiser answers where that was `asked` for.

    Raises:
        ModelError: It is made for an answer that is neither noise nor velocity.
    """
    published = folder.scheduler()
    told = published.config.get("prediction_type")
    if told not in ("epsilon", "v_prediction"):
        raise ModelError(
            f"its prediction_type is {told!r}, and this family trains epsilon and v_prediction",
            where=str(folder.path / "scheduler" / "scheduler_config.json"),
            hint="a model whose denoiser answers the noise or the velocity",
        )
    prediction = told if asked == "auto" else asked
    return type(published).from_config(published.config, prediction_type=prediction)


def _sides(unet: Any, vae: Any) -> tuple[int, int]:
    """The side that a model was made for, and what sides must be multiples of, px."""
    factor = 2 ** (len(vae.block_out_channels) - 1)
    return factor * unet.sample_size, factor * 2 ** (len(unet.block_out_channels) - 1)
