"""LoRA files of a run: what they are called, and what their headers tell of it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.weights import files
from trainer.weights.layouts import Layout, Weights
from trainer.weights.metadata import About, count_tags, public_values

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.data.bucket import Framed
    from trainer.families.base import LoadedModel
    from trainer.job.config import JobConfig


@dataclass(frozen=True, slots=True)
class Moment:
    """Where in a run a file is saved.

    Attributes:
        step: Optimizer steps taken.
        steps: In all.
        an_epoch: Optimizer steps an epoch.
    """

    step: int
    steps: int
    an_epoch: int

    @property
    def ends_epoch(self) -> bool:
        """Whether every picture was shown equally often."""
        return self.step % self.an_epoch == 0

    @property
    def epoch(self) -> int:
        """The epoch that the last step belongs to, from 1."""
        return -(-self.step // self.an_epoch)

    @property
    def label(self) -> str:
        """`e0004` for a whole epoch, `s000120` between two."""
        return f"e{self.epoch:04d}" if self.ends_epoch else f"s{self.step:06d}"


class Exporter:
    """Writes the LoRA files of one run.

    Args:
        folder: The run's lora folder.
        job: What was asked.
        model: For what the files are said to fit.
        pictures: What the run trains on.
        alphas: `Adapter.alphas`.
    """

    def __init__(
        self,
        folder: Path,
        job: JobConfig,
        model: LoadedModel,
        pictures: tuple[Framed, ...],
        alphas: dict[str, float],
    ) -> None:
        self._folder, self._job, self._pictures, self._alphas = folder, job, pictures, alphas
        self._modelspec, self._base_hash = model.modelspec, model.base_hash
        self._started = time.time()

    def paths(self, moment: Moment) -> dict[Path, Layout]:
        """Where the files of this moment are, or will be, and their layouts; kohya's first."""
        path = self._folder / f"{self._job.name}-{moment.label}.safetensors"
        paths: dict[Path, Layout] = {path: "kohya"}
        if self._job.save.diffusers:
            paths[path.with_name(f"{path.stem}-diffusers.safetensors")] = "diffusers"
        return paths

    def write(self, state: dict[str, Tensor], moment: Moment) -> list[Path]:
        """Write the file, and a second one in the Diffusers layout when the job asks for it.

        Args:
            state: `Adapter.state`, or a mean of it.
            moment: When.

        Raises:
            AdapterError: A value does not fit the precision of the files.
            ResourceError: The disk is full, or cannot be written.
        """
        paths, about = self.paths(moment), self._about(moment)
        for path, layout in paths.items():
            files.export(
                path,
                Weights(state, self._alphas),
                about,
                self._job.model.naming,
                layout=layout,
                precision=self._job.save.precision,
            )
        return list(paths)

    def _about(self, moment: Moment) -> About:
        job = self._job
        captions = [framed.picture.caption for framed in self._pictures]
        tags = count_tags(captions)
        return About(
            name=job.name,
            epoch=moment.epoch,
            epochs=-(-moment.steps // moment.an_epoch),
            step=moment.step,
            steps=moment.steps,
            seed=job.schedule.seed or 0,
            started=self._started,
            saved=time.time(),
            modelspec=self._modelspec,
            base_hash=self._base_hash,
            resolution=job.model.resolution,
            trigger=job.dataset.trigger or _shared_tag(tags, len(captions)),
            images=len(self._pictures),
            shown=sum(framed.picture.repeats for framed in self._pictures),
            captions=sum(1 for caption in captions if caption),
            tags=tags,
            buckets=Counter(framed.frame.size for framed in self._pictures),
            learning_rate=job.optimizer.learning_rate,
            text_learning_rate=job.text_encoder.learning_rate if job.text_encoder.train else None,
            job=public_values(job),
        )


def _shared_tag(tags: dict[str, int], captions: int) -> str:
    """The tag that every caption has, which then calls the LoRA up; empty when there is none."""
    return next((tag for tag, count in tags.items() if count == captions), "")
