"""What the families with a transformer share (FLUX.1, Stable Diffusion 3): CLIPs, T5, velocity.

It knows no family: each says how its transformer is called, and how words are encoded.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

from trainer.core.errors import ModelError
from trainer.core.files import hash_text
from trainer.families.base import LoadedModel, ModelConfig
from trainer.families.files import ModelFiles
from trainer.families.finding import find_model
from trainer.families.flowing import FlowConfig, densities, shift, sketch
from trainer.families.outline import Outline
from trainer.families.words import CLIP_ATTENTION, clip_tokenizer, t5_tokenizer, tokens

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from torch import Generator, Tensor, nn

    from trainer.core.batch import Batch
    from trainer.core.device import Plan


class TransformerConfig(ModelConfig):
    """A base model with a transformer, CLIP text encoders and a T5."""

    clips: ClassVar[dict[str, str]]
    """The tokenizer of each CLIP, by their names in the pipeline; these can learn."""

    t5: ClassVar[tuple[str, str]]
    """T5's name in the pipeline, and its tokenizer's."""

    flow: FlowConfig = FlowConfig()

    def outline(self, targets: str) -> Outline:
        import torch

        from trainer.families.measure import adapted, cached, measure

        folder = find_model(self)
        readers = self.readers(folder)
        parts = {name: folder.empty(name) for name in ("transformer", *readers, "vae")}
        made = {name: part.config for name, part in parts.items()}
        self.check(folder, made)
        length = self.tokens_of(made["transformer"])
        read = tokenizers(folder, readers, made, length)
        if self.t5[0] in read:  # which may be made for fewer
            length = read[self.t5[0]].model_max_length
        vae, step = made["vae"], size_step(made["vae"])
        side = self.resolution // step * 2
        shapes = self.shapes(made, side, length)
        with torch.device("meta"):
            call = {name: torch.empty(s, dtype=torch.bfloat16) for name, s in shapes.items()}
        outline = measure(
            parts,
            denoiser=parts["transformer"],
            call=lambda: parts["transformer"](**call, return_dict=False)[0],
            pattern=self.pattern(made["transformer"], targets),
            sides=(vae.sample_size, step),
            cached=cached(vae, call["encoder_hidden_states"].numel()),
        )
        pushed = shift(self.flow.shift, scheduler(folder).config, side * side // 4)
        return replace(
            outline,
            text_adapted={name: adapted(parts[name], CLIP_ATTENTION) for name in self.clips},
            facts={"timesteps": sketch(self.flow, pushed)},
            heights=densities(self.flow, pushed),
            warnings=(*folder.notes, *self.flow.unused(), *self.warnings(made)),
        )

    def readers(self, folder: ModelFiles) -> dict[str, str]:
        """The tokenizer of each text encoder that the model has."""
        return self.clips | dict([self.t5])

    @abstractmethod
    def tokens_of(self, network: Any) -> int:
        """How many tokens T5 reads for a transformer of this configuration."""

    @abstractmethod
    def check(self, folder: ModelFiles, made: Mapping[str, Any]) -> None:
        """Refuse parts, by their configurations, that are not the family's.

        Raises:
            ModelError: They are not, or do not belong together.
        """

    @abstractmethod
    def shapes(self, made: Mapping[str, Any], side: int, length: int) -> dict[str, tuple[int, ...]]:
        """What the transformer is called with for one picture: arguments -> shapes.

        Args:
            made: The configurations of all parts.
            side: Of the picture's square latents.
            length: How many of T5's words there are.
        """

    @abstractmethod
    def pattern(self, network: Any, targets: str) -> str:
        """The expression of modules that `targets` means, in the blocks that are chosen.

        Raises:
            ConfigError: There is no such block.
        """

    def warnings(self, made: Mapping[str, Any]) -> tuple[str, ...]:
        """What may go wrong with a model of these parts."""
        return ()


class Transformer(LoadedModel):
    """A loaded model whose transformer answers the velocity from picture to noise."""

    _config: TransformerConfig

    def __init__(self, config: TransformerConfig, plan: Plan) -> None:
        folder = find_model(config)
        self._config, self.naming, self.plan = config, config.naming, plan
        self.warnings = folder.notes
        self._folder, self.scheduler = folder, cast("Any", scheduler(folder))
        readers = config.readers(folder)
        self.encoder_names = tuple(readers)
        self.text_targets = dict.fromkeys(config.clips, CLIP_ATTENTION)
        made = {name: folder.settings(name) for name in ("transformer", "vae", *readers)}
        self._network: Any = made["transformer"]
        config.check(folder, made)
        length = config.tokens_of(self._network)
        self.tokenizers = tokenizers(folder, readers, made, length)
        self.image_key = folder.fingerprint("vae") + f":{plan.precision}"
        told = map(folder.fingerprint, (*readers, *readers.values()))
        self.text_key = hash_text(*told, str(length)) + f":{plan.words_format}"
        self.render_key = f"{folder.fingerprint('scheduler')}:{type(self.scheduler).__name__}"
        self.native_side, self.size_step = made["vae"].sample_size, size_step(made["vae"])
        self.base_hash = folder.fingerprint("transformer")
        self._read_all()

    def _read(self, part: str) -> Any:
        if part == "vae":
            return self._folder.vae(self.plan)
        return self._folder.part("transformer" if part == "denoiser" else part, self.plan)

    @abstractmethod
    def _answer(self, noisy: Tensor, times: Tensor, conditioning: dict[str, Tensor]) -> Tensor:
        """The velocity that the transformer sees in noisy latents, `(B, C, h, w)`.

        Args:
            noisy: `(B, C, h, w)`, fp32.
            times: `(B,)` in (0, 1), fp32.
            conditioning: As `encode_captions` gives it.
        """

    @abstractmethod
    def _watched(self) -> Sequence[nn.Module]:
        """The blocks of the transformer that `see` looks through."""

    def pattern(self, targets: str) -> str:
        return self._config.pattern(self._network, targets)

    def draw_noise(self, shape: tuple[int, int, int], generator: Generator) -> Tensor:
        import torch

        return torch.randn(shape, generator=generator)

    def draw_time(self, shape: tuple[int, int, int], generator: Generator) -> Tensor:
        from trainer.diffusion import flow

        asked = self._config.flow
        pushed = shift(asked.shift, self.scheduler.config, shape[1] * shape[2] // 4)
        return flow.draw_time(
            generator, asked.sampling, mean=asked.mean, spread=asked.spread, shift=pushed
        )

    def losses(self, batch: Batch) -> Tensor:
        from trainer.diffusion import flow

        noisy = flow.interpolate(batch.latents, batch.noise, batch.times)
        conditioning = batch.conditioning or self.encode_captions(batch.captions)
        answer = self._answer(noisy, batch.times, conditioning)
        wanted = flow.velocity(batch.latents, batch.noise)
        losses = (answer.float() - wanted).square().mean(dim=(1, 2, 3))
        return losses * flow.weights(batch.times, self._config.flow.weighting)

    def see(self, latents: Tensor) -> Tensor:
        import torch

        from trainer.diffusion import flow
        from trainer.families.sight import LOOK_AT, see_through

        still = self.draw_noise(latents.shape[1:], torch.Generator().manual_seed(0))
        times = torch.full((len(latents),), LOOK_AT)
        noisy = flow.interpolate(latents, still.expand_as(latents), times).to(self.plan.device)
        words = {
            name: value.expand(len(latents), *value.shape[1:])
            for name, value in self.encode_captions(("",)).items()
        }
        ahead = times.to(noisy.device)
        return see_through(self._watched(), lambda: self._answer(noisy, ahead, words))

    def render_arguments(
        self, positive: dict[str, Tensor], negative: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        sides = {"": positive} | ({"negative_": negative} if self._config.contrasts else {})
        return {
            f"{side}{name}": words[ours]
            for side, words in sides.items()
            for name, ours in (
                ("prompt_embeds", "encoder_hidden_states"),
                ("pooled_prompt_embeds", "pooled_projections"),
            )
        }

    def pipeline(self) -> DiffusionPipeline:
        import diffusers

        every = self._config.clips | dict([self._config.t5])
        pipeline = getattr(diffusers, self._config.pipeline)(
            **{name: self.text_encoders.get(name) for name in every},
            **{words: self.tokenizers.get(name) for name, words in every.items()},
            vae=self.vae,
            transformer=self.denoiser,
            scheduler=type(self.scheduler).from_config(self.scheduler.config),
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def _tokens(self, encoder: str, captions: tuple[str, ...]) -> Tensor:
        """`(B, n)`, padded and cut to the places that the text encoder has, on its device."""
        return tokens(self.tokenizers[encoder], captions).to(self.plan.device)


def size_step(vae: Any) -> int:
    """What sides must be multiples of, px: the transformer sees patches of two latents."""
    return int(2 ** len(vae.block_out_channels))


def tokenizers(
    folder: ModelFiles, readers: Mapping[str, str], made: Mapping[str, Any], length: int
) -> dict[str, Any]:
    """The tokenizer of each text encoder, checked against its configuration; T5's cut to `length`.

    Raises:
        ModelError: One is missing, damaged, or another encoder's.
    """
    return {
        name: t5_tokenizer(folder, made[name], words, length)
        if made[name].model_type == "t5"
        else clip_tokenizer(folder, made[name], words)
        for name, words in readers.items()
    }


def scheduler(folder: ModelFiles) -> Any:
    """The published scheduler.

    Raises:
        ModelError: It is not made for flow matching.
    """
    published = folder.scheduler()
    name = type(published).__name__
    if not name.startswith("FlowMatch"):
        raise ModelError(
            f"its scheduler is a {name!r}, and this family is trained by flow matching",
            where=folder.told_in("scheduler"),
            hint="the scheduler that it was published with, FlowMatchEulerDiscreteScheduler",
        )
    return published
