"""Looks at a run in progress: the loss on held-out pictures, and sample pictures.

Where the base is spread over processes, all of them look together, since each holds a part of
what is looked with; the first alone writes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.core.device import free_memory
from trainer.core.events import Emit, Sampled, Validated, Warned
from trainer.core.files import write_atomically
from trainer.data.prior import as_png
from trainer.engine.sampling import Recipe, encode, render
from trainer.engine.validation import validation_loss

if TYPE_CHECKING:
    from PIL.Image import Image

    from trainer.job.config import JobConfig
    from trainer.job.run import Run
    from trainer.prepare import Parts


@dataclass(frozen=True, slots=True)
class Looks:
    """How a run is looked at."""

    run: Run
    job: JobConfig
    parts: Parts
    emit: Emit

    def validate(self, epoch: int, step: int) -> None:
        """Measure the loss on the held-out pictures."""
        parts = self.parts
        with parts.average.applied():
            loss = validation_loss(
                parts.model,
                parts.material.loader,
                parts.material.held_out,
                together=self.job.schedule.batch_size,
            )
        self.emit(Validated(step, epoch, loss))

    def look(self, epoch: int, step: int, stop: Callable[[], bool] = lambda: False) -> None:
        """Render the sample pictures. One that fails is told of, and the run goes on."""
        settings = self.job.samples
        for index, prompt in enumerate(self.parts.words.prompts):
            if stop():
                return
            seed = settings.seed + index
            name = f"e{epoch:04d}-s{step:06d}-{index:02d}.png"
            try:
                picture = self._sample(index, seed)
                if self.parts.accelerator.is_main_process:
                    write_atomically(self.run.samples / name, as_png(picture))
            except Exception as error:  # a sample is never worth a run, whatever went wrong
                if self.parts.sharded:
                    raise  # the others wait for this process in the middle of the picture
                self.emit(Warned(f"sample {index + 1} of epoch {epoch} failed: {error!r}"))
                free_memory()
                continue
            self.emit(Sampled(step, epoch, prompt, seed, f"samples/{name}"))

    def _sample(self, index: int, seed: int) -> Image:
        settings, parts = self.job.samples, self.parts
        size = parts.material.sample_size
        guidance = self.job.model.guidance_or(settings.guidance)
        recipe = Recipe(size, settings.steps, guidance, settings.negative)
        with parts.average.applied():
            words = parts.words.only(index)
            if self.job.text_encoder.train:
                words = encode(parts.model, words.prompts, settings.negative)
            return render(parts.model, words, [seed], recipe)[0]
