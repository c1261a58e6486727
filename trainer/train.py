"""A run, from its job to its proven LoRA file.

Every stage speaks in events; whoever watches reads the run's folder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.core import device
from trainer.core.errors import DivergedError, ProofError, is_out_of_memory
from trainer.core.events import (
    Emit,
    Event,
    Kept,
    Preparing,
    Saved,
    Started,
    Status,
    Stepped,
)
from trainer.engine import checkpoint
from trainer.engine.crowded import crowded
from trainer.engine.export import Exporter, Moment
from trainer.engine.loop import Step
from trainer.looks import Looks
from trainer.planning import plan_of
from trainer.prepare import Parts, prepare
from trainer.proof import Asked, prove

if TYPE_CHECKING:
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
    plan = plan_of(job)
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
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise crowded(job, plan, done + 1, error, work.last_good()) from error
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
        self.looking = self.main or parts.sharded
        self.looks = Looks(run, job, parts, emit)
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
        if self.looking and done == 0 and self.job.samples.every:
            together = (lambda: self.agree(stop())) if parts.sharded else stop
            self.looks.look(epoch=0, step=0, stop=together)
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
        if self.main and self._saves(step):
            self.save(step.number)
        if self.looking and (step.ends_epoch or step.number == self.parts.pace.steps):
            self._look(step)
        every = self.job.save.state_every_steps
        last = step.number == self.parts.pace.steps
        if step.ends_epoch or last or (every and step.number % every == 0):
            self.keep(step.number)

    def _saves(self, step: Step) -> bool:
        save, last = self.job.save, step.number == self.parts.pace.steps
        epochs = -(-self.parts.pace.steps // self.parts.steps_an_epoch)
        by_step = save.every_steps and step.number % save.every_steps == 0
        return bool(last or by_step or (step.ends_epoch and step.epoch % save.rhythm(epochs) == 0))

    def _look(self, step: Step) -> None:
        save, epochs = self.job.save, -(-self.parts.pace.steps // self.parts.steps_an_epoch)
        samples = save.looks(self.job.samples.every, epochs)
        held = save.looks(self.job.validation.every, epochs)
        last = step.number == self.parts.pace.steps
        if self.parts.material.held_out and (step.epoch % held == 0 or last):
            self.looks.validate(step.epoch, step.number)
        if samples and (step.epoch % samples == 0 or last):
            self.looks.look(step.epoch, step.number)

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

    def keep(self, step: int) -> None:
        """Write what a resumed run starts from; weights that are no numbers never get there."""
        (parts := self.parts).adapter.check_finite()
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
        del self.parts, self.looks
