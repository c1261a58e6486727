"""A run, from its job to its proven LoRA file.

    scan -> load -> frame -> class pictures -> cache -> attach -> (resume) -> steps -> proof

Every stage speaks in events; whoever watches reads the run's folder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.core import device
from trainer.core.events import (
    Emit,
    Kept,
    Planned,
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
from trainer.data import prior
from trainer.data.folder import scan
from trainer.data.gather import Material, Progress, gather
from trainer.engine import checkpoint
from trainer.engine.average import Average
from trainer.engine.export import Exporter, Moment
from trainer.engine.loop import Loop, Objective, Pace, Step
from trainer.engine.packed import lean, pack
from trainer.engine.sampling import Recipe, Words, encode, render
from trainer.engine.validation import validation_loss
from trainer.preflight import preflight
from trainer.proof import prove
from trainer.weights.attach import attach

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch.optim import Optimizer

    from trainer.core.device import Plan
    from trainer.families.base import LoadedModel
    from trainer.job.config import JobConfig
    from trainer.job.run import Run
    from trainer.weights.adapter import Adapter


@dataclass(frozen=True, slots=True)
class Result:
    """How far a run came."""

    status: Status
    step: int


def train(run: Run, emit: Emit, stop: Callable[[], bool]) -> Result:
    """Do what the run's job says, from its newest checkpoint on if it has one.

    Args:
        run: The folder to read the job from and to write to.
        emit: Told of everything that happens.
        stop: Asked after every step whether to save and end.

    Raises:
        UserError: Whatever a person can mend; its class says what kind of thing it is.
    """
    work = _Work.prepare(run, emit)
    done = work.resume()
    work.announce(done)
    if work.main and done == 0 and work.job.samples.every:
        work.look(epoch=0, step=0)
    for step in work.loop.steps(after=done):
        done = step.number
        work.after(step)
        if work.agree(stop()):
            work.keep(done)
            return Result("stopped", done)
    return work.finish(done)


class _Work:
    """The parts of a run in progress, put together by `prepare`."""

    def __init__(self, run: Run, job: JobConfig, plan: Plan, emit: Emit) -> None:
        self.run, self.job, self.plan, self.emit = run, job, plan, emit
        self.accelerator = _accelerator(plan, job)
        self.main = self.accelerator.is_main_process
        self.model: LoadedModel
        self.adapter: Adapter
        self.material: Material
        self.words: Words
        self.optimizer: Optimizer
        self.average: Average
        self.exporter: Exporter
        self.loop: Loop

    @classmethod
    def prepare(cls, run: Run, emit: Emit) -> _Work:
        """Read, check, encode and attach everything, up to the first step."""
        job = run.job
        plan = device.plan(
            job.compute.device,
            job.compute.precision,
            packed=job.compute.packed,
            checkpointing=job.compute.gradient_checkpointing,
        )
        work = cls(run, job, plan, emit)
        with work.accelerator.main_process_first():
            work._load()
        work._attach()
        return work

    @property
    def seed(self) -> int:
        """Names every random draw of the run."""
        assert self.job.schedule.seed is not None, "a run's job has its seed settled"
        return self.job.schedule.seed

    def _load(self) -> None:
        job, emit = self.job, self.emit
        emit(Preparing("scan"))
        found = scan(job.dataset, progress=lambda done, total: emit(Preparing("scan", done, total)))
        emit(Planned(preflight(job, self.plan, found)))
        emit(Preparing("load"))
        self.model = job.model.load(self.plan)
        self.material = gather(job, self.model, found, self._class_pictures, emit)
        prompts = job.samples.prompts or self.material.captions[:4]
        self.words = encode(self.model, prompts, job.samples.negative)
        self.model.release("images")
        if not job.text_encoder.train and not job.dataset.captions_vary:
            self.model.release("captions")

    def _class_pictures(self, progress: Progress) -> Path:
        """The folder of class pictures, rendered by the base model where they are missing."""
        job, model = self.job, self.model
        side = job.model.resolution // model.size_step * model.size_step
        recipe = Recipe((side, side), job.samples.steps, job.samples.guidance)
        words = encode(model, [job.prior_prompt], "")
        facts = (model.base_hash, model.image_key, model.text_key, job.prior_prompt, str(recipe))
        folder = prior.class_folder(job.cache_folder, *facts)
        prior.fill(
            folder,
            count=job.prior.count,
            batch=4,
            render=lambda seeds: render(model, words.repeated(len(seeds)), seeds, recipe),
            progress=progress,
        )
        return folder

    def _attach(self) -> None:
        job, model = self.job, self.model
        self.adapter = attach(
            model, job.adapter, text_encoder=job.text_encoder.train, seed=self.seed
        )
        if self.plan.checkpointing:
            model.checkpoint_activations()
        self._speed_up()
        groups: list[dict[str, Any]] = [
            {"params": self.adapter.parameters("denoiser"), "lr": job.optimizer.learning_rate}
        ]
        if job.text_encoder.train:
            texts = [
                p
                for part in self.adapter.parts
                if part != "denoiser"
                for p in self.adapter.parameters(part)
            ]
            groups.append({"params": texts, "lr": job.text_encoder.learning_rate})
        optimizer = job.optimizer.build(groups, lambda told: self.emit(Warned(told)))
        objective, self.optimizer = self.accelerator.prepare(Objective(model), optimizer)
        self.average = Average(self.adapter, job.schedule.ema)
        self.exporter = Exporter(
            self.run.lora, job, model, self.material.training, self.adapter.alphas()
        )
        self.loop = Loop(
            objective,
            self.adapter,
            self.material.loader,
            self.optimizer,
            self.accelerator,
            self.pace,
        )

    def _speed_up(self) -> None:
        """In bf16 adapters compute in the format of their input, without autocast."""
        if self.plan.packed:
            pack(self.model.denoiser)
        elif self.plan.precision == "bf16":
            lean(self.model.denoiser)
        if self.plan.precision == "bf16":
            for encoder in self.model.text_encoders.values():
                lean(encoder)

    @property
    def steps_an_epoch(self) -> int:
        """Optimizer steps that show every picture once (times its repeats)."""
        return self.material.loader.plan.steps

    @property
    def pace(self) -> Pace:
        """How long and how hard, with epochs turned into steps."""
        schedule = self.job.schedule
        steps = schedule.steps or (schedule.epochs or 10) * self.steps_an_epoch
        warmup = round(schedule.warmup * steps)
        return Pace(steps, warmup, schedule.kind, schedule.clip, self.seed)

    def resume(self) -> int:
        """Take up the newest checkpoint; how many steps it had taken."""
        path = checkpoint.newest(self.run.checkpoints)
        if path is None:
            return 0
        state = checkpoint.load(path, self.material.identity)
        self.adapter.load_state(state.adapter)
        self.average.mean = state.mean
        checkpoint.restore_optimizer(self.optimizer, state.optimizer)
        scaler = getattr(self.accelerator, "scaler", None)
        if scaler is not None and state.scaler:
            scaler.load_state_dict(state.scaler)
        return state.step

    def announce(self, done: int) -> None:
        """Say what is about to train."""
        pace = self.pace
        self.emit(
            Started(
                steps=pace.steps,
                epochs=-(-pace.steps // self.steps_an_epoch),
                images=len(self.material.training),
                seed=self.seed,
                device=self.plan.device,
                precision=self.plan.precision,
                trainable=sum(p.numel() for p in self.adapter.parameters()),
                modules=len(self.adapter.modules),
                resumed_from=done,
            )
        )

    def agree(self, stop: bool) -> bool:
        """Whether any process was asked to stop, so that all stop after the same step."""
        if self.accelerator.num_processes == 1:
            return stop
        import torch

        asked = torch.tensor(float(stop), device=self.accelerator.device)
        return bool(self.accelerator.reduce(asked, reduction="sum") > 0)

    def after(self, step: Step) -> None:
        """What follows an optimizer step: tell, average, and at the right times save and look."""
        self.average.update(step.number)
        self.emit(
            Stepped(step.number, step.epoch, step.loss, step.rate, step.gradient, step.seconds)
        )
        if self.main:
            self._save_and_look(step)
        state_every = self.job.save.state_every_steps
        if step.ends_epoch or (state_every and step.number % state_every == 0):
            self.keep(step.number)

    def _save_and_look(self, step: Step) -> None:
        save, samples, held = self.job.save, self.job.samples, self.job.validation
        last = step.number == self.pace.steps
        by_step = save.every_steps and step.number % save.every_steps == 0
        if last or by_step or (step.ends_epoch and step.epoch % save.every_epochs == 0):
            self.save(step.number)
        if not (step.ends_epoch or last):
            return
        if self.material.held_out and (step.epoch % held.every == 0 or last):
            with self.average.applied():
                loss = validation_loss(self.model, self.material.loader, self.material.held_out)
            self.emit(Validated(step.number, step.epoch, loss))
        if samples.every and (step.epoch % samples.every == 0 or last):
            self.look(step.epoch, step.number)

    def save(self, step: int) -> None:
        """Write the LoRA files of this step."""
        self.adapter.check_finite()
        moment = self.moment(step)
        for path in self.exporter.write(self.average.state(), moment):
            told = path.relative_to(self.run.path).as_posix()
            self.emit(Saved(step, moment.epoch, told))

    def moment(self, step: int) -> Moment:
        """Where in the run a step is."""
        return Moment(step, self.pace.steps, self.steps_an_epoch)

    def look(self, epoch: int, step: int) -> None:
        """Render the sample pictures. One that fails is told of, and the run goes on."""
        settings = self.job.samples
        recipe = Recipe(
            self.material.sample_size, settings.steps, settings.guidance, settings.negative
        )
        for index, prompt in enumerate(self.words.prompts):
            seed = settings.seed + index
            name = f"e{epoch:04d}-s{step:06d}-{index:02d}.png"
            try:
                with self.average.applied():
                    words = (
                        encode(self.model, [prompt], settings.negative)
                        if self.job.text_encoder.train
                        else self.words.only(index)
                    )
                    picture = render(self.model, words, [seed], recipe)[0]
            except (RuntimeError, ValueError, MemoryError) as error:
                self.emit(Warned(f"sample {index + 1} of epoch {epoch} failed: {error}"))
                continue
            write_atomically(self.run.samples / name, prior.as_png(picture))
            self.emit(Sampled(step, epoch, prompt, seed, f"samples/{name}"))

    def keep(self, step: int) -> None:
        """Write what a resumed run starts from."""
        if self.main:
            scaler = getattr(self.accelerator, "scaler", None)
            state = checkpoint.State(
                step=step,
                adapter=self.adapter.state(),
                mean=self.average.mean,
                optimizer=self.optimizer.state_dict(),
                scaler=scaler.state_dict() if scaler is not None else {},
                identity=self.material.identity,
            )
            checkpoint.save(self.run.checkpoints, state)
            self.emit(Kept(step))
        self.accelerator.wait_for_everyone()

    def finish(self, done: int) -> Result:
        """Prove the last LoRA file; only then is the run completed."""
        if not self.main:
            return Result("completed", done)
        self.emit(Preparing("proof"))
        last = self.exporter.path(self.moment(done))
        trained, prompt = self.average.state(), self.words.prompts[0]
        job, plan = self.job, self.plan
        del self.model, self.loop, self.optimizer, self.adapter, self.average
        self.emit(prove(job, plan, trained, last, prompt))
        return Result("completed", done)


def _accelerator(plan: Plan, job: JobConfig) -> Accelerator:
    from datetime import timedelta

    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs

    return Accelerator(
        cpu=plan.device == "cpu",
        mixed_precision="fp16" if plan.precision == "fp16" else "no",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(hours=12))],
    )
