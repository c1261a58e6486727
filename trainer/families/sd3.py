"""Stable Diffusion 3 and 3.5: two CLIPs and T5, joint attention over pictures and words, flow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import Field, model_validator

from trainer.core.errors import ConfigError, ModelError
from trainer.core.schema import Knob
from trainer.families import blocks, words
from trainer.families.base import Side, families
from trainer.families.naming import Mark, Naming, Original, PartNaming
from trainer.families.single.recognise import Content, Recognised
from trainer.families.transformer import Transformer, TransformerConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trainer.core.device import Plan
    from trainer.families.files import ModelFiles

_WORDS = """
    transformer_blocks attn attn2 to_q to_k to_v to_out add_q_proj add_k_proj add_v_proj to_add_out
    ff ff_context net proj norm1 norm1_context linear proj_out pos_embed context_embedder
    time_text_embed timestep_embedder text_embedder linear_1 linear_2 norm_out text_projection
"""
_QKV = {
    "x_block.attn": "attn.to_{}",
    "x_block.attn2": "attn2.to_{}",
    "context_block.attn": "attn.add_{}_proj",
}
_JOINT = {
    "x_block.attn.proj": "attn.to_out.0",
    "x_block.attn2.proj": "attn2.to_out.0",
    "context_block.attn.proj": "attn.to_add_out",
    "x_block.mlp.fc1": "ff.net.0.proj",
    "x_block.mlp.fc2": "ff.net.2",
    "context_block.mlp.fc1": "ff_context.net.0.proj",
    "context_block.mlp.fc2": "ff_context.net.2",
    "x_block.adaLN_modulation.1": "norm1.linear",
    "context_block.adaLN_modulation.1": "norm1_context.linear",
}
_AROUND = {
    "x_embedder.proj": "pos_embed.proj",
    "context_embedder": "context_embedder",
    "t_embedder.mlp.0": "time_text_embed.timestep_embedder.linear_1",
    "t_embedder.mlp.2": "time_text_embed.timestep_embedder.linear_2",
    "y_embedder.mlp.0": "time_text_embed.text_embedder.linear_1",
    "y_embedder.mlp.2": "time_text_embed.text_embedder.linear_2",
    "final_layer.linear": "proj_out",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
}


def _originals() -> Iterator[Original]:
    """The modules as Stability's first code has them, after which kohya and ComfyUI name them."""
    block, theirs = "transformer_blocks.{}.", "joint_blocks.{}."
    for first, ours in _QKV.items():
        members = tuple(block + ours.format(letter) for letter in "qkv")
        yield Original(f"{theirs}{first}.qkv", members, (1, 1, 1))
    for first, ours in _JOINT.items():
        yield Original(theirs + first, (block + ours,), swapped="adaLN" in first)
    for first, ours in _AROUND.items():
        yield Original(first, (ours,), swapped="adaLN" in first)


_NAME = "Stable Diffusion 3/3.5"
NAMING = Naming(
    marks=(
        Mark(_NAME, "stable-diffusion-3", r"joint_blocks[._]\d+[._](x|context)_block"),
        Mark(
            _NAME,
            module=r"transformer[._]transformer_blocks[._]\d+[._]attn2?[._](to|add)_",
            widths=(1536, 2432),
        ),
    ),
    parts=(
        PartNaming(
            "denoiser",
            kohya="lora_unet",
            diffusers="transformer",
            also=("lora_transformer",),
            dotted="diffusion_model",
            originals=tuple(_originals()),
        ),
        PartNaming("text_encoder", kohya="lora_te1", diffusers="text_encoder"),
        PartNaming("text_encoder_2", kohya="lora_te2", diffusers="text_encoder_2"),
        PartNaming("text_encoder_3", kohya="lora_te3", diffusers="text_encoder_3"),
    ),
    words=frozenset(_WORDS.split()) | words.CLIP | words.T5,
)
"""Stable Diffusion 3 and 3.5; both CLIPs have a projection, and so keep `text_model.`."""


_WITHOUT_T5 = (
    "the model comes without T5 (text_encoder_3), so captions are read by the two CLIPs alone, "
    "up to {} tokens"
)


@families.add
class Sd3Config(TransformerConfig):
    """Stable Diffusion 3 medium, or 3.5 medium or large."""

    naming: ClassVar[Naming] = NAMING
    pipeline: ClassVar[str] = "StableDiffusion3Pipeline"
    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "transformer": ("diffusers.SD3Transformer2DModel",),
        "vae": ("diffusers.AutoencoderKL",),
        "text_encoder": ("transformers.CLIPTextModelWithProjection",),
        "text_encoder_2": ("transformers.CLIPTextModelWithProjection",),
        "text_encoder_3": ("transformers.T5EncoderModel",),
        "tokenizer": words.CLIP_TOKENIZER,
        "tokenizer_2": words.CLIP_TOKENIZER,
        "tokenizer_3": words.T5_TOKENIZER,
    }
    clips: ClassVar[dict[str, str]] = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}
    t5: ClassVar[tuple[str, str]] = ("text_encoder_3", "tokenizer_3")
    usual_guidance: ClassVar[float] = 4.5
    kind: Literal["sd3"] = "sd3"
    base: Annotated[
        str,
        Field(
            description="Model to adapt: a folder in Diffusers format, or the name of a hub "
            "repository, which is downloaded (16 GB) when it is not there yet; its licence must "
            "have been accepted there."
        ),
        Knob(label="Base model", private=True, why="The smaller of the two 3.5 models."),
    ] = "stabilityai/stable-diffusion-3.5-medium"
    resolution: Annotated[Side, Knob(unit="px", step=64, why="It was made for 1024 px.")] = 1024

    max_tokens: Annotated[
        int, Field(ge=8, le=512), Knob(advanced=True, why="What Diffusers renders with.")
    ] = 256
    """Tokens of a caption that T5 reads; the rest is cut off. Fewer are faster and take less
    memory."""

    joint_blocks: blocks.Blocks = "all"
    """Which blocks carry the adapter: `all`, `none`, or numbers such as `0-4, 7, 12`.
    `adapter.targets` says which of their modules."""

    @model_validator(mode="after")
    def _some_blocks_learn(self) -> Self:
        blocks.require_some(joint_blocks=self.joint_blocks)
        return self

    @classmethod
    def recognise(cls, content: Content) -> Recognised | None:
        """Known, and read from folders alone."""
        if not content.begins("joint_blocks."):
            return None
        return Recognised(_NAME, hint="the same model as a folder in Diffusers format")

    def load(self, plan: Plan) -> Sd3:
        return Sd3(self, plan)

    def readers(self, folder: ModelFiles) -> dict[str, str]:
        """Some are published without T5."""
        return super().readers(folder) if folder.has(self.t5[0]) else self.clips

    def tokens_of(self, network: Any) -> int:
        return self.max_tokens

    def check(self, folder: ModelFiles, made: Mapping[str, Any]) -> None:
        network, vae = made["transformer"], made["vae"]
        clips = [made[name] for name in self.clips]
        wide = network.joint_attention_dim
        if (
            network.in_channels == vae.latent_channels
            and vae.shift_factor is not None
            and network.patch_size == 2
            and network.pooled_projection_dim == sum(clip.projection_dim for clip in clips)
            and sum(clip.hidden_size for clip in clips) <= wide
            and (self.t5[0] not in made or made[self.t5[0]].d_model == wide)
        ):
            return
        raise ModelError(
            f"its transformer takes {network.in_channels} channels, words {wide} wide and pooled "
            f"words {network.pooled_projection_dim} wide, which its VAE and encoders do not make",
            where=str(folder.path),
            hint="Stable Diffusion 3 medium, 3.5 medium or 3.5 large, as it was published",
        )

    def shapes(self, made: Mapping[str, Any], side: int, length: int) -> dict[str, tuple[int, ...]]:
        network = made["transformer"]
        read = self._read_by_clip(made) + length
        return {
            "hidden_states": (1, network.in_channels, side, side),
            "encoder_hidden_states": (1, read, network.joint_attention_dim),
            "pooled_projections": (1, network.pooled_projection_dim),
            "timestep": (1,),
        }

    def warnings(self, made: Mapping[str, Any]) -> tuple[str, ...]:
        return () if self.t5[0] in made else (_WITHOUT_T5.format(self._read_by_clip(made)),)

    def _read_by_clip(self, made: Mapping[str, Any]) -> int:
        return max(int(made[name].max_position_embeddings) for name in self.clips)

    def pattern(self, network: Any, targets: str) -> str:
        """A named choice leaves out what the last block asks the words, which is not heard."""
        every = set(range(network.num_layers))
        kept = blocks.chosen(self.joint_blocks, len(every), where="model.joint_blocks")
        named = Sd3.targets.get(targets)
        heard = rf"(?!.*\.{len(every) - 1}\.attn\.add_q_proj)(?:{named})"
        return blocks.without(heard if named else targets, {"transformer_blocks": every - kept})


class Sd3(Transformer):
    """A loaded Stable Diffusion 3 or 3.5 model."""

    targets: ClassVar[dict[str, str]] = {
        "attention": r".*\.attn2?\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)",
        "attention+ff": r".*\.(attn2?\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)"
        r"|ff(_context)?\.net\.(0\.proj|2))",
        "linear": r"transformer_blocks\..*",
    }
    _config: Sd3Config

    def diffusers_reads(self, modules: Iterable[str]) -> bool:
        """It has no reader of kohya's layout for this family."""
        return False

    @property
    def modelspec(self) -> dict[str, str]:
        newer = "5-medium" if self._network.dual_attention_layers else "5-large"
        kind = newer if self._network.qk_norm else "medium"
        return {
            "ss_base_model_version": f"sd3-{kind}",
            "ss_network_module": "networks.lora_sd3",
            "modelspec.architecture": f"stable-diffusion-3-{kind}/lora",
            "modelspec.implementation": "diffusers",
        }

    def encode_captions(self, captions: tuple[str, ...]) -> dict[str, Tensor]:
        import torch

        wide = self._network.joint_attention_dim
        spoken: list[Tensor] = []
        pooled: list[Tensor] = []
        for name in self._config.clips:
            answer = self.text_encoders[name](
                self._tokens(name, captions), output_hidden_states=True
            )
            spoken.append(answer.hidden_states[-2])
            pooled.append(answer[0])
        both = torch.cat(spoken, dim=-1)
        both = torch.nn.functional.pad(both, (0, wide - both.shape[-1]))
        t5 = self._config.t5[0]
        if t5 in self.text_encoders:
            more = self.text_encoders[t5](self._tokens(t5, captions))[0]
        else:
            more = both.new_zeros(len(both), self._config.max_tokens, wide)
        return {
            "encoder_hidden_states": torch.cat((both, more), dim=1),
            "pooled_projections": torch.cat(pooled, dim=-1),
        }

    def _answer(self, noisy: Tensor, times: Tensor, conditioning: dict[str, Tensor]) -> Tensor:
        longest = max(noisy.shape[2:]) // 2
        if longest > self._network.pos_embed_max_size:
            raise ConfigError(
                f"a picture is {longest} patches long, and the model knows places for "
                f"{self._network.pos_embed_max_size}",
                where="model.resolution",
                hint="a smaller one, or dataset.buckets = false",
            )
        answer: Tensor = self.denoiser(
            hidden_states=noisy.to(self.plan.dtype),
            timestep=times * self.scheduler.config.num_train_timesteps,
            return_dict=False,
            **{name: value.to(self.plan.dtype) for name, value in conditioning.items()},
        )[0]
        return answer

    def _watched(self) -> tuple[nn.Module, nn.Module]:
        rows = cast("Any", self.denoiser).transformer_blocks
        return rows[len(rows) // 2], rows[-1]
