"""The training loop: one run folder, resumed wherever it stopped.

    <run>/config.toml          the whole config, saved at the start
    <run>/checkpoint.safetensors   everything needed to resume, written every few minutes
    <run>/stable.safetensors   the same, before the learning rate began to fall in the last stage
    <run>/history.jsonl        one line a validation: its scores, and the mean training losses since the last one
    <run>/tensorboard/  <run>/audio/

Several GPUs: ``torchrun --nproc-per-node 8 -m silkcodec.cli train CONFIG -o RUN``; each process takes its share
of the batch (PyTorch DDP).
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from silkcodec.errors import ArgumentError, OutputError, SilkError, WeightsError
from silkcodec.mel import FRAME, SAMPLE_RATE
from silkcodec.nn.decoder import NOISE_LENGTH
from silkcodec.nn.discriminators import Discriminators, adversarial_losses, discriminator_loss
from silkcodec.nn.model import SilkModel
from silkcodec.train import checkpoint, memory, revive
from silkcodec.train.config import StageConfig, TrainConfig, dump_config, load_config
from silkcodec.train.data import Batches, Pack, crops, pack
from silkcodec.train.interrupts import Interrupts
from silkcodec.train.losses import SpectralLoss
from silkcodec.train.muon import Muon
from silkcodec.train.precision import arithmetic
from silkcodec.train.progress import Progress
from silkcodec.train.recognizer import RecognizerLoss, load_recognizer
from silkcodec.train.requirements import TRAINING, require
from silkcodec.train.validate import validate, validation_waves

ADVERSARIAL = ("adversarial", "features")
MAX_SKIPPED = 20  # steps in a row without a finite gradient, before the run gives up
INTERRUPTED = 130  # exit status: the shell's for Ctrl-C


def train(config_path: str | Path, run: str | Path, overrides: list[str] | None = None) -> None:
    """Train as the config says, into folder `run`; go on from its checkpoint if it has one.

    Args:
        config_path: a TOML file, or the name of a packaged config.
        run: folder of this run, made if need be.
        overrides: ``key.path=value`` each, over what the config says.

    Raises:
        ArgumentError: the config or its data folder is not usable.
        WeightsError: the run's checkpoint, or what `init` names, is damaged or does not fit the config.
        OutputError: the run's folder or the cache cannot be written.
        MissingExtraError: a package of the extra [train] is not installed.
        SilkError: the loss is no longer a number; the last checkpoint stays.
        SystemExit: interrupted (Ctrl-C, SIGTERM), with status 130, after a checkpoint was saved.
    """
    require("Training", TRAINING)
    config = load_config(config_path, overrides or ())
    if not torch.cuda.is_available():
        memory.keep_freed_pages()
    Trainer(config, Path(run)).run()


class Trainer:
    """A run: the model and its average, the optimisers, and where it stands."""

    def __init__(self, config: TrainConfig, run: Path):
        self.config, self.folder = config, run
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        if config.optim.batch_crops % self.world:
            raise ArgumentError(
                f"optim.batch_crops must divide by {self.world} processes; got {config.optim.batch_crops}."
            )
        self.device = self._device()
        self.dtype = arithmetic(config.optim.precision, self.device)
        self.recognizer = self._recognizer()  # never in a checkpoint: the config says where its weights are
        if config.optim.threads:
            torch.set_num_threads(config.optim.threads)
        torch.manual_seed(config.seed)
        self.progress = Progress(run, config, quiet=self.rank > 0)
        cache = Path(config.data.cache) if config.data.cache else run.parent / "cache"
        self.data = {split: self._pack(split, cache) for split in ("train", "valid")}
        self.batches = Batches(self._batch)
        self.valid_waves = validation_waves(self.data["valid"], config.log)

        self.model = SilkModel(config.model).to(self.device)
        self.ema = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.losses = SpectralLoss().to(self.device)
        self.discriminators = self._discriminators()
        self.optimizers = self._optimizers()
        self.stage_index, self.step, self.steps_in_stage = 0, 0, 0
        self.seconds, self.seconds_in_stage = 0.0, 0.0  # spent in training steps, over all resumptions
        self.validated_step = -1  # the last one
        self.stable_stage = -1  # the stage whose weights before the decay are in stable.safetensors
        self.skipped, self.skipped_in_row = 0, 0  # steps without a finite gradient
        if (file := run / "checkpoint.safetensors").exists():
            self._resume(file)
        elif config.init:
            self._start_from(Path(config.init))
        if self.rank == 0:
            self._open_folder()

    # -- set-up ---------------------------------------------------------------------------------

    def _device(self) -> torch.device:
        if self.world > 1:
            torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        if not torch.cuda.is_available():
            return torch.device("cpu")
        torch.backends.cudnn.benchmark = True  # the shapes of a run never change
        torch.cuda.set_device(local := int(os.environ.get("LOCAL_RANK", 0)))
        return torch.device("cuda", local)

    def _pack(self, split: str, cache: Path) -> Pack:
        if self.rank > 0:
            torch.distributed.barrier()  # the first process decodes, the others find it done
            return pack(self.config.data, split, cache)
        found = pack(self.config.data, split, cache, self.progress.say)
        self.progress.say(f"{split}: {len(found.clips)} files, {found.hours:.2f} h")
        if self.world > 1:
            torch.distributed.barrier()
        return found

    def _discriminators(self) -> Discriminators | None:
        if not any(stage.losses.get(name) for stage in self.config.stage for name in ADVERSARIAL):
            return None
        adversary = self.config.adversary
        return Discriminators(adversary.periods, adversary.fft_sizes, adversary.width).to(self.device)

    def _recognizer(self) -> RecognizerLoss | None:
        if not any(stage.losses.get("recognizer") for stage in self.config.stage):
            return None
        # Not compiled: nearly all its time is in matrix products, so that saves 5 % of it, after minutes of compiling.
        return load_recognizer(self.config.recognizer, self.dtype).to(self.device)

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Muon for the matrices of the blocks; AdamW for the first and last layers, filters, norms, biases."""
        optim = self.config.optim
        outer = ("encoder.embed", "decoder.head", "position", "depthwise")
        matrices: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for name, parameter in self.model.named_parameters():
            inner = optim.optimizer == "muon" and parameter.ndim == 2 and not any(part in name for part in outer)
            (matrices if inner else rest).append(parameter)
        common = {"lr": optim.learning_rate, "weight_decay": optim.weight_decay}
        optimizers: dict[str, torch.optim.Optimizer] = {"adamw": torch.optim.AdamW(rest, betas=(0.9, 0.95), **common)}
        if matrices:
            optimizers["muon"] = Muon(matrices, dtype=self.dtype, **common)
        if self.discriminators is not None:
            optimizers["discriminators"] = torch.optim.AdamW(
                self.discriminators.parameters(), lr=self.config.adversary.learning_rate, betas=(0.8, 0.95)
            )
        return optimizers

    # -- checkpoints ----------------------------------------------------------------------------

    def _groups(self) -> dict[str, dict[str, Tensor]]:
        groups = {"model": self.model.state_dict(), "ema": self.ema.state_dict()}
        if self.discriminators is not None:
            groups["discriminators"] = self.discriminators.state_dict()
        for name, optimizer in self.optimizers.items():
            groups[f"optimizer_{name}"] = checkpoint.optimizer_tensors(optimizer)
        return groups

    def save(self, name: str = "checkpoint.safetensors") -> None:
        """Write everything that is needed to resume."""
        where: dict[str, float] = {"stage": self.stage_index, "steps_in_stage": self.steps_in_stage, "step": self.step}
        where |= {"seconds": self.seconds, "seconds_in_stage": self.seconds_in_stage, "skipped": self.skipped}
        where |= {"stable_stage": self.stable_stage}
        checkpoint.save(self.folder / name, self._groups(), where)

    def _resume(self, file: Path) -> None:
        groups, progress = checkpoint.load(file)
        checkpoint.fill(self.model, groups, "model", file)
        checkpoint.fill(self.ema, groups, "ema", file)
        if self.discriminators is not None and "discriminators" in groups:
            checkpoint.fill(self.discriminators, groups, "discriminators", file)
        self._restore_optimizers(self.optimizers, groups, file)
        self.stage_index, self.steps_in_stage = progress["stage"], progress["steps_in_stage"]
        self.step, self.seconds = progress["step"], progress["seconds"]
        self.seconds_in_stage = progress.get("seconds_in_stage", 0.0)  # not in the checkpoints of earlier versions
        self.skipped = progress.get("skipped", 0)
        self.stable_stage = progress.get("stable_stage", self.stage_index)
        self.progress.say(f"resumed at step {self.step}, {self.seconds / 3600:.2f} h into the run")

    def _restore_optimizers(self, names: Iterable[str], groups: dict[str, dict[str, Tensor]], file: Path) -> None:
        for name in names:
            if tensors := groups.get(f"optimizer_{name}"):
                checkpoint.restore_optimizer(self.optimizers[name], tensors, file)

    def _start_from(self, source: Path) -> None:
        """Fill the network, and its average, from exported weights, a run's average, or a checkpoint's raw weights.

        A run that used the same optimisers brings their state too, which the first steps would have to find again, and
        its discriminators, if they have the same sizes.
        """
        is_checkpoint = source.suffix == ".safetensors"  # the raw weights: those that the optimisers' state belongs to
        if (file := source if is_checkpoint else source / "checkpoint.safetensors").exists():
            groups, _ = checkpoint.load(file)
            checkpoint.fill(self.model, groups, "model" if is_checkpoint else "ema", file)
            if self.discriminators is not None and _same_shapes(self.discriminators, groups.get("discriminators")):
                checkpoint.fill(self.discriminators, groups, "discriminators", file)
                self._restore_optimizers(["discriminators"], groups, file)
                self.progress.say(f"discriminators taken from {file}")
            ours = self.optimizers.keys() - {"discriminators"}
            if ours == {name for name in ("adamw", "muon") if groups.get(f"optimizer_{name}")}:
                self._restore_optimizers(ours, groups, file)
        elif (source / "config.json").exists():
            from silkcodec.train.export import load_weights  # needs onnx, which training does not

            require("Training from exported weights", ("onnx",))
            load_weights(self.model, source)
        else:
            raise WeightsError(f"init must be a folder of exported weights or a run; {source} holds neither.")
        self.progress.say(f"starting from the weights of {source}")
        if freed := revive.free(self.model, self.valid_waves):
            self.progress.say(f"dimensions stuck on one level, set free: {', '.join(map(str, freed))}")
        self.ema.load_state_dict(self.model.state_dict())

    def _open_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "config.toml").write_text(dump_config(self.config), encoding="utf-8")
            self.validated_step = self.progress.rewind(self.step)
        except OSError as error:
            raise OutputError(
                f"a run must be a folder that can be written; {self.folder}: {error.strerror}."
            ) from error

    # -- the loop -------------------------------------------------------------------------------

    def run(self) -> None:
        with Interrupts() as interrupts, self.progress, closing(self.batches):
            stages = self.config.stage
            if self.stage_index >= len(stages):
                self.progress.say(f"the run is finished, at step {self.step}; more stages in its config prolong it")
            while self.stage_index < len(stages):
                self._run_stage(stages[self.stage_index], interrupts)
                self.stage_index, self.steps_in_stage, self.seconds_in_stage = self.stage_index + 1, 0, 0.0
                if self.rank == 0:
                    self.save()
            if self.rank == 0 and self.validated_step != self.step:
                self._validate()
        if self.world > 1:
            torch.distributed.destroy_process_group()

    def _run_stage(self, stage: StageConfig, interrupts: Interrupts) -> None:
        for part in (self.model.encoder, self.model.quantizer):
            part.requires_grad_(stage.train_encoder)
        self.model.decoder.requires_grad_(stage.train_decoder)
        if not stage.train_encoder and self.steps_in_stage == 0:
            # The averaged encoder is what is exported: freeze that one, so that the decoder learns from the
            # tokens it will get, and no token changes any more.
            self.model.encoder.load_state_dict(self.ema.encoder.state_dict())
            self.model.quantizer.load_state_dict(self.ema.quantizer.state_dict())
        self.model.quantizer.train(stage.train_encoder)  # learned codebooks stand still when the tokens must
        network, spectral = self._compiled()
        saved = time.monotonic()
        done = self._done(stage)
        while done < 1:
            if self.rank == 0 and done >= 1 - stage.decay_share and self.stable_stage != self.stage_index:
                self.stable_stage = self.stage_index
                self.save("stable.safetensors")  # later runs continue from here, where the learning rate is still high
            begun = time.monotonic()
            values = self._step(stage, done, network, spectral)
            self.step, self.steps_in_stage = self.step + 1, self.steps_in_stage + 1
            elapsed = time.monotonic() - begun
            self.seconds, self.seconds_in_stage = self.seconds + elapsed, self.seconds_in_stage + elapsed
            audio_s = self.config.optim.batch_crops * self.config.data.crop_frames * FRAME / SAMPLE_RATE
            done = self._done(stage)
            self.progress.update(stage, self.step, done, values, elapsed, audio_s)
            if self._any(interrupts.asked):
                self._stop()
            if self.rank == 0:
                if time.monotonic() - saved > self.config.log.checkpoint_minutes * 60:
                    self.save()
                    saved = time.monotonic()
                if self.step % self.config.log.validate_steps == 0:
                    self._validate()

    def _done(self, stage: StageConfig) -> float:
        """How much of a stage is behind: 0 at its start, 1 at its end."""
        if stage.steps:
            return self.steps_in_stage / stage.steps
        seconds = torch.tensor(self.seconds_in_stage, dtype=torch.float64)
        if self.world > 1:  # no two processes have taken the same time, but all must leave together
            torch.distributed.broadcast(seconds := seconds.to(self.device), src=0)
        return min(1.0, float(seconds) / (60 * stage.minutes))

    def _stop(self) -> None:
        """Save, and leave."""
        if self.rank == 0:
            self.save()
            self.progress.say(f"interrupted; step {self.step} is saved, and the same command goes on from there")
        if self.world > 1:
            torch.distributed.destroy_process_group()
        raise SystemExit(INTERRUPTED)

    def _any(self, flag: bool) -> bool:
        """Whether the flag is true in any process: all of them must take the same turn."""
        if self.world == 1:
            return flag
        votes = torch.tensor(float(flag), device=self.device)
        torch.distributed.all_reduce(votes)
        return votes.item() > 0

    def _compiled(self) -> tuple[Any, Any]:
        network: nn.Module = self.model
        if self.world > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            network = nn.parallel.DistributedDataParallel(network, device_ids=ids)
        if not self.config.optim.compile:
            return network, self.losses
        return torch.compile(network, dynamic=False), torch.compile(self.losses, dynamic=False)

    def _batch(self, step: int) -> Tensor:
        """This process's crops of a step, on the CPU: float32 [B, crop_frames * 9600 + 480]."""
        config = self.config
        share = config.optim.batch_crops // self.world
        batch = crops(self.data["train"], config.data, share, config.seed * 1009 + self.rank, step)
        return batch.pin_memory() if self.device.type == "cuda" else batch

    def _step(self, stage: StageConfig, done: float, network: Any, spectral: Any) -> dict[str, float]:
        """One batch through all optimisers, `done` of the stage being behind; returns what to log."""
        config = self.config
        batch = self.batches.take(self.step).to(self.device, non_blocking=True)
        target = batch[:, : config.data.crop_frames * FRAME]
        with self._autocast():
            reconstruction = network(batch, self._positions(len(batch)))
        wave = reconstruction.wave
        values: dict[str, float] = {}
        discriminators = self.discriminators if any(stage.losses.get(name) for name in ADVERSARIAL) else None
        if discriminators is not None:
            loss, learned = self._compare(target, wave[: len(target)])
            values["discriminator"] = float(loss.detach())
            gradients = self._discriminator_gradients(loss, keep=stage.train_decoder)
            if not stage.train_decoder:
                self._update_discriminators(stage, done, gradients)
                return values
        terms = dict(spectral(wave, target))
        if discriminators is not None:
            terms |= learned
        if stage.losses.get("recognizer"):
            assert self.recognizer is not None
            n_crops = -(-config.recognizer.crops // self.world)
            terms["recognizer"] = self.recognizer(wave[:n_crops], target[:n_crops])
        weights = dict(stage.losses)
        if config.adversary.ramp_steps and "adversarial" in weights:
            weights["adversarial"] *= min(1.0, self.steps_in_stage / config.adversary.ramp_steps)
        total = reconstruction.loss + sum(weight * terms[name] for name, weight in weights.items() if weight)
        if discriminators is not None:
            discriminators.requires_grad_(False)  # the graph goes through them, but their gradient is not needed
        total.backward()
        if discriminators is not None:
            discriminators.requires_grad_(True).zero_grad(set_to_none=True)
            self._update_discriminators(stage, done, gradients)
        values["gradient"] = float(nn.utils.clip_grad_norm_(self.model.parameters(), config.optim.clip_norm))
        if self._any(not math.isfinite(values["gradient"] + float(total.detach()))):
            self._skip()
            return {}
        self.skipped_in_row = 0
        rate = learning_rate(config.optim.learning_rate, config.optim.warmup_steps, stage, self.steps_in_stage, done)
        for name in ("adamw", "muon"):
            if name in self.optimizers:
                for group in self.optimizers[name].param_groups:
                    group["lr"] = rate
                self.optimizers[name].step()
                self.optimizers[name].zero_grad(set_to_none=True)
        self._average()
        return values | {name: float(term.detach()) for name, term in terms.items()} | {"learning_rate": rate}

    def _stretch(self) -> slice:
        """The samples of a crop that the discriminators hear in this step."""
        n_crop = self.config.data.crop_frames * FRAME
        n_heard = round(self.config.adversary.crop_s * SAMPLE_RATE) or n_crop
        # Not from the batches' generator: what is heard must not decide what is drawn.
        begin = int(np.random.default_rng((self.config.seed, self.step, 1)).integers(n_crop - n_heard + 1))
        return slice(begin, begin + n_heard)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype is torch.bfloat16)

    def _skip(self) -> None:
        """Leave the weights as they are. Raises SilkError if no step has worked for a while."""
        self.model.zero_grad(set_to_none=True)
        self.skipped, self.skipped_in_row = self.skipped + 1, self.skipped_in_row + 1
        self.progress.say(f"step {self.step + 1}: no update, its gradient is not finite ({self.skipped} so far)")
        if self.skipped_in_row >= MAX_SKIPPED:
            raise SilkError(
                f"training must have a finite loss; it had none for {MAX_SKIPPED} steps, up to step {self.step + 1};"
                " lower optim.learning_rate, and the same command goes on from the last checkpoint."
            )

    def _positions(self, batch: int) -> Tensor | None:
        """Where two draws of the decoder's noise begin, float32 [2, B]; None if it has no noise."""
        if not self.config.model.noise:
            return None
        rng = np.random.default_rng((self.config.seed, self.step, self.rank, 2))
        return torch.from_numpy(rng.integers(NOISE_LENGTH, size=(2, batch)).astype(np.float32)).to(self.device)

    def _compare(self, target: Tensor, wave: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the discriminators' own loss, and the codec's losses, of originals and decoded waves.

        Both sides learn from the same scores and feature maps, so those of the originals are computed once a step.
        """
        assert self.discriminators is not None
        original, decoded = at_one_level(*(both[:, self._stretch()] for both in (target, wave)))
        with self._autocast():  # two passes: as one batch, the codec's backward pass would go through the originals too
            real, fake = self.discriminators(original), self.discriminators(decoded)
        return discriminator_loss(real, fake), adversarial_losses(real, fake)

    def _discriminator_gradients(self, loss: Tensor, keep: bool) -> list[Tensor] | None:
        """Return their gradients, or None in the steps in which they do not learn. `keep` keeps the graph."""
        if self.step % self.config.adversary.every_steps:
            return None
        assert self.discriminators is not None
        return list(torch.autograd.grad(loss, list(self.discriminators.parameters()), retain_graph=keep))

    def _update_discriminators(self, stage: StageConfig, done: float, gradients: list[Tensor] | None) -> None:
        """Take one step with these gradients. After the codec's backward pass, which needs the weights as they were."""
        if gradients is None:
            return
        assert self.discriminators is not None
        optimizer = self.optimizers["discriminators"]
        if self.world > 1:
            for gradient in gradients:
                torch.distributed.all_reduce(gradient)
                gradient /= self.world
        if not math.isfinite(float(nn.utils.get_total_norm(gradients))):  # the same in all processes by now
            return
        for parameter, gradient in zip(self.discriminators.parameters(), gradients, strict=True):
            parameter.grad = gradient
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(self.config.adversary.learning_rate, 0, stage, self.steps_in_stage, done)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _average(self) -> None:
        """Update the moving average. From random weights its decay grows from 0.1, so that it soon forgets them."""
        decay = self.config.optim.ema_decay
        if not self.config.init:
            decay = min(decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.ema.parameters()), list(self.model.parameters()), 1 - decay)
        for mine, theirs in zip(self.ema.buffers(), self.model.buffers(), strict=True):
            mine.copy_(theirs)  # learned codebooks, which are running means already; other buffers never change

    def _validate(self) -> None:
        scores = validate(self.ema, self.valid_waves, self.folder / "audio" / f"step_{self.step:07d}")
        self.progress.report(self.step, scores, {"hours": round(self.seconds / 3600, 4), "skipped": self.skipped})
        self.validated_step = self.step


def _same_shapes(module: nn.Module, tensors: dict[str, Tensor] | None) -> bool:
    ours = {name: tensor.shape for name, tensor in module.state_dict().items()}
    return tensors is not None and ours == {name: tensor.shape for name, tensor in tensors.items()}


def at_one_level(target: Tensor, wave: Tensor) -> tuple[Tensor, Tensor]:
    """Both float32 [B, T], scaled alike, so that each target has a root mean square of 1; none is raised above 60 dB.

    At the level of most recordings, 0.05 or so, the discriminators' first layers hardly answer: with this their scores
    are four times as far apart after 150 steps (docs/training.md).
    """
    gain = target.square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-3).reciprocal()
    return target * gain, wave * gain


def learning_rate(peak: float, warmup_steps: int, stage: StageConfig, step: int, done: float) -> float:
    """Warm-up, then constant, then linear to zero over the stage's last `decay_share` (Hu et al., MiniCPM, 2024).

    Constant in the middle, so that a run can be made longer after it has begun. `step` counts from the stage's start;
    `done` is how much of the stage is behind, 0..1.
    """
    warm = min(1.0, (step + 1) / max(1, warmup_steps))
    cool = min(1.0, (1 - done) / stage.decay_share) if stage.decay_share else 1.0
    return peak * stage.learning_rate_scale * warm * cool
