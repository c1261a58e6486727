"""What the families with a UNet share (SD, SDXL): noised latents in, noise or velocity out.

It knows no family: each says how words are encoded, and what its UNet is told besides.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

from trainer.core.errors import ModelError
from trainer.core.files import hash_text
from trainer.families.base import LoadedModel, ModelConfig
from trainer.families.files import ModelFiles
from trainer.families.finding import find_model
from trainer.families.noising import NoiseConfig
from trainer.families.outline import Outline
from trainer.families.single import latent_names
from trainer.families.single.spelling import Spelling, as_is
from trainer.families.words import CLIP_ATTENTION, clip_tokenizer, tokens

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from trainer.core.batch import Batch
    from trainer.core.device import Plan
    from trainer.diffusion.noise import Prediction

_UNET = """
    down_blocks mid_block up_blocks attentions resnets downsamplers upsamplers transformer_blocks
    attn1 attn2 to_q to_k to_v to_out ff net proj proj_in proj_out
    conv conv1 conv2 conv_shortcut time_emb_proj
    conv_in conv_out time_embedding linear_1 linear_2
"""
UNET_WORDS = frozenset(_UNET.split())
"""Names between the dots of module paths, for `Naming`."""
UNET_PARTS = {"unet": ("diffusers.UNet2DConditionModel",), "vae": ("diffusers.AutoencoderKL",)}
"""For `ModelConfig.parts`; each family adds how it reads words."""
UNET_SINGLE = {
    "unet": (
        Spelling("model.diffusion_model.", latent_names.unet, mark="input_blocks."),
        Spelling("model.diffusion_model.", as_is, mark="down_blocks."),
        Spelling("", as_is, mark="down_blocks."),
    ),
    "vae": (
        Spelling("first_stage_model.", latent_names.vae, unused=latent_names.VAE_UNUSED),
        Spelling("vae.", latent_names.vae, unused=latent_names.VAE_UNUSED),
    ),
}
"""For `ModelConfig.single`; each family adds its text encoders."""
CROSS_ATTENTION = r"attn2[._]to_[kv]$"
"""Modules that read the words, whose width tells one generation from another (`Mark`)."""


class UnetConfig(ModelConfig):
    """A base model with a UNet and CLIP text encoders."""

    encoders: ClassVar[dict[str, str]]
    """The tokenizer of each text encoder, by their names in the pipeline."""

    noise: NoiseConfig = NoiseConfig()

    @property
    def prediction_asked(self) -> str:
        return self.noise.prediction

    def outline(self, targets: str) -> Outline:
        import torch

        from trainer.families.measure import adapted, cached, measure

        folder = find_model(self)
        unet, vae = folder.empty("unet"), folder.empty("vae")
        texts = {name: folder.empty(name) for name in self.encoders}
        self.check(folder, unet.config, texts)
        tokenizers(folder, self.encoders, texts)
        scheduler(folder, self.noise.prediction)
        side = self.resolution // 2 ** (len(vae.config.block_out_channels) - 1)
        places = max(text.config.max_position_embeddings for text in texts.values())
        with torch.device("meta"):
            latents = torch.empty(1, unet.config.in_channels, side, side, dtype=torch.bfloat16)
            times = torch.zeros(1, dtype=torch.long)
            words = torch.empty(1, places, unet.config.cross_attention_dim, dtype=torch.bfloat16)
            more = self.arguments_on_meta(texts)
        outline = measure(
            {"unet": unet, **texts, "vae": vae},
            denoiser=unet,
            call=lambda: unet(latents, times, encoder_hidden_states=words, **more).sample,
            pattern=Unet.targets.get(targets, targets),
            sides=_sides(unet.config, vae.config),
            cached=cached(vae.config, words.numel()),
        )
        patterns = self.text_targets(texts)
        return replace(
            outline,
            text_adapted={name: adapted(text, patterns[name]) for name, text in texts.items()},
            wide_vae=self.widens(vae.config),
            warnings=folder.notes,
        )

    @classmethod
    def text_targets(cls, encoders: Mapping[str, Any]) -> dict[str, str]:
        """What of each text encoder can learn, as `LoadedModel.text_targets`."""
        return dict.fromkeys(encoders, CLIP_ATTENTION)

    @classmethod
    def widens(cls, vae: Any) -> bool:
        """Whether a VAE of this configuration computes in fp32 where the rest is fp16."""
        return False

    def check(self, folder: ModelFiles, unet: Any, encoders: Mapping[str, Any]) -> None:
        """Refuse a UNet, by its configuration, that only looks like the family's.

        Raises:
            ModelError: It is one.
        """

    def arguments_on_meta(self, encoders: Mapping[str, Any]) -> dict[str, Any]:
        """What the UNet is told besides latents, times and words, of one picture, as shapes."""
        return {}


class Unet(LoadedModel):
    """A loaded model with a UNet, an autoencoder and CLIP text encoders."""

    targets: ClassVar[dict[str, str]] = {
        "attention": r".*\.attn[12]\.(to_q|to_k|to_v|to_out\.0)",
        "attention+ff": r".*\.(attn[12]\.(to_q|to_k|to_v|to_out\.0)|ff\.net\.(0\.proj|2))",
        "linear": r".*\.attentions\.\d+\.(proj_in|proj_out|.*\.(to_q|to_k|to_v|to_out\.0|proj|2))",
        "linear+conv": r"(down_blocks|mid_block|up_blocks)\..*"
        r"\.(to_q|to_k|to_v|to_out\.0|proj|2|proj_in|proj_out|conv|conv1|conv2|conv_shortcut"
        r"|time_emb_proj)",
    }

    def __init__(self, config: UnetConfig, plan: Plan) -> None:
        folder = self._folder = find_model(config)
        self.naming, self._noise = config.naming, config.noise
        self.plan, self.warnings = plan, folder.notes
        self.scheduler: Any = scheduler(folder, config.noise.prediction)
        self.encoder_names = tuple(config.encoders)
        texts = {name: folder.empty(name) for name in config.encoders}
        self.text_targets = config.text_targets(texts)
        self.tokenizers = tokenizers(folder, config.encoders, texts)
        self._unet_config: Any = folder.settings("unet")
        config.check(folder, self._unet_config, texts)
        self._vae_plan = self._plan_of_vae()
        self._signals = self.scheduler.alphas_cumprod.to(plan.device)
        self.prediction = cast("Prediction", self.scheduler.config.prediction_type)
        self.image_key = folder.fingerprint("vae") + f":{self._vae_plan.precision}"
        words = (name for pair in config.encoders.items() for name in pair)
        self.text_key = hash_text(*map(folder.fingerprint, words)) + f":{plan.words_format}"
        made = f"{type(self.scheduler).__name__}:{self.prediction}"
        self.render_key = f"{folder.fingerprint('scheduler')}:{made}"
        self.native_side, self.size_step = _sides(self._unet_config, folder.settings("vae"))
        self.base_hash = folder.fingerprint("unet")
        self._read_all()

    def _plan_of_vae(self) -> Plan:
        """How the VAE is read; the plan, where nothing speaks against it."""
        return self.plan

    def _read(self, part: str) -> Any:
        if part == "vae":
            return self._folder.vae(self._vae_plan)
        return self._folder.part("unet" if part == "denoiser" else part, self.plan)

    @abstractmethod
    def _arguments(self, conditioning: dict[str, Tensor], frames: Tensor) -> dict[str, Any]:
        """What the UNet is told besides latents and times.

        Args:
            conditioning: As `encode_captions` gives it, in the plan's format.
            frames: As `Batch.frames`.
        """

    def draw_noise(self, shape: tuple[int, int, int], generator: Generator) -> Tensor:
        from trainer.diffusion import noise

        return noise.draw_noise(shape, generator, offset=self._noise.offset)

    def draw_time(self, shape: tuple[int, int, int], generator: Generator) -> Tensor:
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
            **self._arguments({k: v.to(dtype) for k, v in conditioning.items()}, batch.frames),
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

        count = len(latents)
        still = self.draw_noise(latents.shape[1:], torch.Generator().manual_seed(0))
        times = torch.full((count,), int(LOOK_AT * len(self._signals)))
        noisy = noise.add_noise(latents, still.expand_as(latents), self._signals.cpu(), times)
        device, dtype = self.plan.device, self.plan.dtype
        words = self.encode_captions(("",)).items()
        factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        sides = [factor * latents.shape[-2], factor * latents.shape[-1]]
        frames = torch.tensor([*sides, 0, 0, *sides], dtype=torch.float32, device=device)
        told = self._arguments(
            {name: rows.to(dtype).expand(count, *rows.shape[1:]) for name, rows in words},
            frames.expand(count, -1),
        )
        blocks: Any = self.denoiser.get_submodule("up_blocks")
        return see_through(
            (blocks[0], blocks[-1]),
            lambda: self.denoiser(noisy.to(device, dtype), times.to(device), **told),
        )

    def _tokens(self, encoder: str, captions: tuple[str, ...]) -> Tensor:
        """`(B, n)`, padded and cut to the places that the text encoder has, on its device."""
        return tokens(self.tokenizers[encoder], captions).to(self.plan.device)


def tokenizers(
    folder: ModelFiles, names: Mapping[str, str], encoders: Mapping[str, Any]
) -> dict[str, Any]:
    """The tokenizer of each text encoder, checked against the encoder's configuration."""
    return {
        name: clip_tokenizer(folder, encoder.config, names[name])
        for name, encoder in encoders.items()
    }


def scheduler(folder: ModelFiles, asked: str) -> Any:
    """The published scheduler, told what the denoiser answers where that was `asked` for.

    Raises:
        ModelError: It is made for an answer that is neither noise nor velocity, for other noise
            than DDPM's, or for noise where the last timestep has no signal left.
    """
    published = folder.scheduler()
    where = folder.told_in("scheduler")
    told = published.config.get("prediction_type")
    if told not in ("epsilon", "v_prediction"):
        raise ModelError(
            f"its prediction_type is {told!r}, and this family trains epsilon and v_prediction",
            where=where,
            hint="a model whose denoiser answers the noise or the velocity",
        )
    if not hasattr(published, "alphas_cumprod"):
        raise ModelError(
            f"its {type(published).__name__} has no DDPM timesteps, which this family trains by",
            where=where,
            hint="a model with a DDIM, DDPM, Euler or DPM-Solver scheduler",
        )
    prediction = told if asked == "auto" else asked
    if prediction == "epsilon" and published.config.get("rescale_betas_zero_snr"):
        raise ModelError(
            "its last timestep is noise alone (rescale_betas_zero_snr), from which no picture can "
            "be told by epsilon",
            where=where,
            hint="model.noise.prediction = 'v_prediction', which such models are made for",
        )
    return type(published).from_config(published.config, prediction_type=prediction)


def _sides(unet: Any, vae: Any) -> tuple[int, int]:
    """The side that a model was made for, and what sides must be multiples of, px."""
    factor = 2 ** (len(vae.block_out_channels) - 1)
    return factor * unet.sample_size, factor * 2 ** (len(unet.block_out_channels) - 1)
