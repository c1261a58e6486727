"""A run, from its job to its proven LoRA file.

Every stage speaks in events; whoever watches reads the run's folder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.core import device
from trainer.core.errors import DivergedError, ProofError
from trainer.core.events import (
    Emit,
    Event,
    Kept,
    Preparing,
    Sampled,
    Saved,
    Started,
    Status,
    Stepped,
    Validated,
    Warned,
)
from trainer.core.files import write_atomically
from trainer.data.prior import as_png
from trainer.engine import checkpoint
from trainer.engine.export import Exporter, Moment
from trainer.engine.loop import Step
from trainer.engine.sampling import Recipe, encode, render
from trainer.engine.validation import validation_loss
from trainer.prepare import Parts, prepare
from trainer.proof import Asked, prove

if TYPE_CHECKING:
    from PIL.Image import Image

    from trainer.core.device import Plan
    from trainer.job.config import JobConfig
    from trainer.job.run import Run


@dataclass(frozen=True, slots=True)
class Result:
    """How far a run came."""

    status: Status
    step: int


def train(run: Run, emit: Emit, stop: Callable[[], bool], *, follows: bool = False) -> Result:
    """Do what the run's job says, from its newest checkpoint on if it has one.

    Args:
        run: The folder to read the job from and to write to.
        emit: Told of everything that happens.
        stop: Asked after every step whether to save and end.
        follows: This is a further process of the run: it ends only when all agree to, for the
            others wait for it.

    Raises:
        UserError: Whatever a person can mend; its class says what kind of thing it is.
    """
    job = run.job
    compute = job.compute
    plan = device.plan(
        compute.device,
        compute.precision,
        packed=compute.packed,
        checkpointing=compute.gradient_checkpointing,
    )
    device.choose(plan.device)
    try:
        tell = emit if follows else _interruptible(emit, stop)
        work = _Work(run, job, prepare(job, plan, tell), emit)
    except _StoppedEarlyError:
        stands = checkpoint.newest(run.checkpoints)
        return Result("stopped", checkpoint.step_of(stands) if stands else 0)
    done = work.begin(stop)
    if work.agree(stop()):
        return Result("stopped", done)
    try:
        for step in work.parts.loop.steps(after=done):
            done = step.number
            work.after(step)
            if work.agree(stop()):
                work.keep(done)
                return Result("stopped", done)
    except DivergedError as error:
        raise DivergedError(
            f"{error.problem}; {work.last_good()}", where=error.where, hint=error.hint
        ) from error
    return _finish(work, plan, done)


class _StoppedEarlyError(Exception):
    """Somebody asked the run to stop before its first step; there is nothing to save."""


def _interruptible(emit: Emit, stop: Callable[[], bool]) -> Emit:
    """An emit that ends the preparations when somebody asks the run to stop."""

    def tell(event: Event) -> None:
        emit(event)
        if isinstance(event, Preparing) and stop():
            raise _StoppedEarlyError

    return tell


def _finish(work: _Work, plan: Plan, done: int) -> Result:
    """Prove the last LoRA file; only then is the run completed."""
    if work.main:
        work.emit(Preparing("proof"))
        if work.resumed_at == done:
            work.save(done)
        files, prompt = work.exporter.paths(work.moment(done)), work.parts.words.prompts[0]
        trained = work.parts.average.state()
        job, emit = work.job, work.emit
        work.forget()
        device.free_memory()
        for proven in prove(job, plan, Asked(trained, files, prompt), emit):
            emit(proven)
    return Result("completed", done)


class _Work:
    """A run in progress: what is done with its parts before, after and between the steps."""

    def __init__(self, run: Run, job: JobConfig, parts: Parts, emit: Emit) -> None:
        self.run, self.job, self.parts, self.emit = run, job, parts, emit
        self.resumed_at = 0
        self.main: bool = parts.accelerator.is_main_process
        self.exporter = Exporter(
            run.lora, job, parts.model, parts.material.training, parts.adapter.alphas()
        )

    def begin(self, stop: Callable[[], bool]) -> int:
        """Take up the newest checkpoint and say what will train; the steps already taken."""
        parts = self.parts
        done = self.resumed_at = self._resume()
        self.emit(
            Started(
                steps=parts.pace.steps,
                epochs=-(-parts.pace.steps // parts.steps_an_epoch),
                images=len(parts.material.training),
                seed=parts.pace.seed,
                device=parts.model.plan.device,
                precision=parts.model.plan.precision,
                trainable=sum(p.numel() for p in parts.adapter.parameters()),
                modules=len(parts.adapter.modules),
                trains=parts.adapter.census(),
                resumed_from=done,
            )
        )
        if self.main and done == 0 and self.job.samples.every:
            self.look(epoch=0, step=0, stop=stop)
        return done

    def last_good(self) -> str:
        """Where the last good checkpoint and LoRA file are, in words."""
        path = checkpoint.newest(self.run.checkpoints)
        kept = f"the last good checkpoint is {path.name}" if path else "nothing was kept before"
        files = sorted(self.run.lora.glob("*.safetensors"), key=lambda p: p.stat().st_mtime_ns)
        return f"{kept}, the last LoRA file {files[-1].name}" if files else kept

    def _resume(self) -> int:
        path = checkpoint.newest(self.run.checkpoints)
        if path is None:
            return 0
        parts = self.parts
        state = checkpoint.load(path, parts.material.identity)
        parts.adapter.load_state(state.adapter)
        parts.average.mean = state.mean
        checkpoint.restore_optimizer(parts.optimizer, state.optimizer)
        scaler = parts.accelerator.scaler
        if scaler is not None and state.scaler:
            scaler.load_state_dict(state.scaler)
        return state.step

    def agree(self, stop: bool) -> bool:
        """Whether any process was asked to stop, so that all stop after the same step."""
        accelerator = self.parts.accelerator
        if accelerator.num_processes == 1:
            return stop
        import torch

        asked = torch.tensor(float(stop), device=accelerator.device)
        return bool(accelerator.reduce(asked, reduction="sum") > 0)

    def moment(self, step: int) -> Moment:
        """Where in the run a step is."""
        return Moment(step, self.parts.pace.steps, self.parts.steps_an_epoch)

    def after(self, step: Step) -> None:
        """What follows an optimizer step: tell, average, and at the right times save and look."""
        self.parts.average.update(step.number)
        self.emit(
            Stepped(step.number, step.epoch, step.loss, step.rate, step.gradient, step.seconds)
        )
        if self.main:
            self._save_and_look(step)
        every = self.job.save.state_every_steps
        last = step.number == self.parts.pace.steps
        if step.ends_epoch or last or (every and step.number % every == 0):
            self.keep(step.number)

    def _save_and_look(self, step: Step) -> None:
        save, samples, held = self.job.save, self.job.samples, self.job.validation
        last = step.number == self.parts.pace.steps
        by_step = save.every_steps and step.number % save.every_steps == 0
        if last or by_step or (step.ends_epoch and step.epoch % save.every_epochs == 0):
            self.save(step.number)
        if not (step.ends_epoch or last):
            return
        if self.parts.material.held_out and (step.epoch % held.every == 0 or last):
            self.validate(step)
        if samples.every and (step.epoch % samples.every == 0 or last):
            self.look(step.epoch, step.number)

    def save(self, step: int) -> None:
        """Write the LoRA files of this step."""
        self.parts.adapter.check_finite()
        self._require_moved(step)
        moment = self.moment(step)
        for path in self.exporter.write(self.parts.average.state(), moment):
            self.emit(Saved(step, moment.epoch, path.relative_to(self.run.path).as_posix()))

    def _require_moved(self, step: int) -> None:
        still = [m.name for m in self.parts.adapter.modules if not bool(m.b.any())]
        if still and self.parts.loop.taken:
            raise ProofError(
                f"at step {step} {len(still)} modules have not moved from their start, the first "
                f"is {still[0]!r}",
                hint="a higher optimizer.learning_rate, or other adapter.targets",
            )

    def validate(self, step: Step) -> None:
        """Measure the loss on the held-out pictures."""
        parts = self.parts
        with parts.average.applied():
            loss = validation_loss(
                parts.model,
                parts.material.loader,
                parts.material.held_out,
                together=self.job.schedule.batch_size,
            )
        self.emit(Validated(step.number, step.epoch, loss))

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
                write_atomically(self.run.samples / name, as_png(picture))
            except Exception as error:  # a sample is never worth a run, whatever went wrong
                self.emit(Warned(f"sample {index + 1} of epoch {epoch} failed: {error!r}"))
                device.free_memory()
                continue
            self.emit(Sampled(step, epoch, prompt, seed, f"samples/{name}"))

    def _sample(self, index: int, seed: int) -> Image:
        settings, parts = self.job.samples, self.parts
        size = parts.material.sample_size
        recipe = Recipe(size, settings.steps, settings.guidance, settings.negative)
        with parts.average.applied():
            words = parts.words.only(index)
            if self.job.text_encoder.train:
                words = encode(parts.model, words.prompts, settings.negative)
            return render(parts.model, words, [seed], recipe)[0]

    def keep(self, step: int) -> None:
        """Write what a resumed run starts from; weights that are no numbers never get there."""
        parts = self.parts
        parts.adapter.check_finite()
        if self.main:
            scaler = parts.accelerator.scaler
            state = checkpoint.State(
                step=step,
                adapter=parts.adapter.state(),
                mean=parts.average.mean,
                optimizer=parts.optimizer.state_dict(),
                scaler=scaler.state_dict() if scaler is not None else {},
                identity=parts.material.identity,
            )
            checkpoint.save(self.run.checkpoints, state)
            self.emit(Kept(step))
        parts.accelerator.wait_for_everyone()

    def forget(self) -> None:
        """Free the model: the proof reads its own."""
        del self.parts
