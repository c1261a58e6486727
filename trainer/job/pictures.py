"""The sections of a job about pictures: what is learned from, kept, and held back."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from trainer.core.schema import Config, Folder, Knob, MaybeFolder
from trainer.families.base import Guidance

Share = Annotated[float, Field(ge=0, lt=1)]


class DatasetConfig(Config):
    """The pictures to learn from."""

    folder: Annotated[Folder, Knob(private=True)]
    """Folder of pictures. Captions lie beside them as .txt files of the same name, in a
    metadata.jsonl or metadata.csv, or in folder names like `10_sks dog`."""

    trigger: Annotated[str, Knob(label="Trigger word", recipe=False)] = ""
    """Rare word that will call the subject or style up. Used in the template."""

    class_word: Annotated[str, Knob(recipe=False)] = ""
    """What the subject is, in one or two words: dog, man, vase. Used in the template."""

    template: Annotated[str, Knob(advanced=True, why="The DreamBooth paper's sentence.")] = (
        "a {trigger} {class}"
    )
    """Caption of a picture that has none; {trigger} and {class} are filled in."""

    repeats: Annotated[
        int,
        Field(ge=1, le=1000),
        Knob(advanced=True, why="Each picture once; more only makes epochs longer."),
    ] = 1
    """How often each picture is shown in an epoch. Folder names like `10_name` set their own."""

    background: Annotated[
        str,
        Field(pattern=r"^#[0-9a-fA-F]{6}$"),
        Knob(advanced=True, why="What most viewers show behind a transparent picture."),
    ] = "#ffffff"
    """Colour that transparent parts are laid on."""

    buckets: Annotated[bool, Knob(advanced=True, why="Keeps pictures whole.")] = True
    """Keep each picture's shape and train shapes in groups. Off: everything is cropped square."""

    bucket_step: Annotated[
        int,
        Field(ge=8, le=256, multiple_of=8),
        Knob(unit="px", advanced=True, why="kohya's default for SD 1.x and SDXL."),
    ] = 64
    """Sides of buckets are multiples of this."""

    upscale: Annotated[bool, Knob(advanced=True, why="Enlarging adds blur, not detail.")] = False
    """Enlarge pictures smaller than the training size. Off: they train at their own size."""

    flip: Annotated[bool, Knob(why="Off: faces, text and clothes are not symmetric.")] = False
    """Mirror pictures at random, which doubles the variety. Leave off for faces and text."""

    shuffle_tags: Annotated[bool, Knob(advanced=True, why="Only for tag lists.")] = False
    """Change the order of comma-separated tags each time, so that order is not learned."""

    keep_tags: Annotated[
        int, Field(ge=0, le=100), Knob(advanced=True, why="Keeps the trigger first.")
    ] = 1
    """How many tags at the front stay in place and are never dropped."""

    tag_dropout: Annotated[
        Share, Knob(advanced=True, why="Only tag lists gain, so off until asked for.")
    ] = 0.0
    """Chance that a tag is left out of a caption, each time it is shown."""

    caption_dropout: Annotated[
        Share, Knob(advanced=True, why="0.05 to 0.1 helps big sets; small ones need their words.")
    ] = 0.0
    """Chance that a picture is shown with an empty caption, which strengthens guidance."""

    max_megapixels: Annotated[
        float,
        Field(gt=0, le=1000),
        Knob(unit="MP", advanced=True, why="A 10,000 x 10,000 picture."),
    ] = 100.0
    """Larger pictures are refused before they are decoded; guards against files that
    unpack to fill the memory."""

    @model_validator(mode="after")
    def _template_can_be_filled(self) -> Self:
        try:
            self.template.format_map({"trigger": "", "class": ""})
        except (KeyError, ValueError, IndexError, AttributeError):
            raise ValueError(
                f"template {self.template!r} may hold {{trigger}} and {{class}} and nothing else "
                "in braces"
            ) from None
        return self

    @property
    def template_caption(self) -> str:
        """The caption of a picture that has none, without doubled spaces."""
        filled = self.template.format_map({"trigger": self.trigger, "class": self.class_word})
        return " ".join(filled.split())

    @property
    def captions_vary(self) -> bool:
        """Whether a picture's words differ from epoch to epoch (an empty caption aside)."""
        return self.shuffle_tags or self.tag_dropout > 0


class PriorConfig(Config):
    """Prior preservation: pictures of the class keep the model from forgetting it."""

    enabled: Annotated[bool, Knob(label="Prior preservation", why="Costs half the speed.")] = False
    """Train on pictures of the class beside your own, so that `a dog` does not become your dog
    (DreamBooth, arXiv:2208.12242)."""

    folder: Annotated[MaybeFolder, Knob(private=True)] = None
    """Folder of class pictures. Empty: the base model renders them before training."""

    prompt: Annotated[str, Knob(recipe=False, why="The class word alone.")] = ""
    """Caption of the class pictures and prompt to render them; empty means `a {class_word}`."""

    count: Annotated[int, Field(ge=1, le=10000), Knob(why="100 to 300 in published recipes.")] = 100
    """How many class pictures to render."""

    steps: Annotated[int, Field(ge=1, le=1000), Knob(advanced=True, why="Enough for DDIM.")] = 25
    """Denoising steps of a class picture."""

    guidance: Guidance = None

    weight: Annotated[float, Field(gt=0, le=10), Knob(advanced=True, why="The paper's value.")] = (
        1.0
    )
    """How much a class picture's loss counts against one of yours."""


class ValidationConfig(Config):
    """The loss on pictures that are held back from training."""

    share: Annotated[Share, Knob(why="Off: small sets need every picture.")] = 0.0
    """Share of the pictures to hold back; at least one when above 0."""

    folder: Annotated[MaybeFolder, Knob(advanced=True, private=True)] = None
    """Folder of held-out pictures, instead of a share of the dataset."""

    every: Annotated[
        int,
        Field(ge=1, le=10000),
        Knob(
            unit="epochs", advanced=True, why="Cheap beside an epoch, and the curve needs points."
        ),
    ] = 1
    """Measure after every so many epochs."""
