"""Train a codec in a run folder, and resume the run from its last checkpoint.

    <run>/config.toml              the complete config, saved at the start
    <run>/checkpoint.safetensors   everything needed to resume, written every few minutes
    <run>/stable.safetensors       the checkpoint from before the learning rate decays
    <run>/history.jsonl            one line per validation: scores, and mean training losses since the previous one
    <run>/tensorboard/             logs for TensorBoard
    <run>/audio/                   decoded validation clips

To use several GPUs, run ``torchrun --nproc-per-node 8 -m silkcodec.cli train CONFIG -o RUN``.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from silkcodec.errors import ArgumentError, OutputError, SilkError
from silkcodec.mel import FRAME, SAMPLE_RATE
from silkcodec.spec import NOISE_LENGTH
from silkcodec_torch.nn.discriminators import Discriminators, adversarial_losses, discriminator_loss
from silkcodec_torch.nn.model import SilkNetwork, with_noise
from silkcodec_torch.train import allocator, checkpoint, finish, stuck
from silkcodec_torch.train.config import StageConfig, TrainConfig, dump_config, load_config
from silkcodec_torch.train.data import Batch, Batches, Pack, crops, pack
from silkcodec_torch.train.interrupts import Interrupts
from silkcodec_torch.train.losses import SpectralLoss, limit_band
from silkcodec_torch.train.muon import Muon
from silkcodec_torch.train.precision import arithmetic
from silkcodec_torch.train.rate import RateLoss
from silkcodec_torch.train.recognizer import RecognizerLoss, load_recognizer
from silkcodec_torch.train.run_progress import Progress
from silkcodec_torch.train.speaker_loss import SpeakerLoss, load_speaker_loss
from silkcodec_torch.train.validate import spread_clips, validate

ADVERSARIAL = ("adversarial", "features")
AUXILIARY = {"discriminators": "discriminators", "rate": "model of the rate loss"}  # name in checkpoints -> in messages
MAX_SKIPPED = 20  # consecutive steps without a finite gradient before the run stops with an error
INTERRUPTED = 130  # exit status that a shell reports for Ctrl-C


def train(config_path: str | Path, run: str | Path, overrides: list[str] | None = None) -> None:
    """Train a codec. If `run` contains a checkpoint, resume from it.

    Args:
        config_path: TOML file, or name of a packaged config.
        run: run folder, created if necessary.
        overrides: values that override the config, as ``key.path=value``.

    Raises:
        ArgumentError: the config or its data folder is invalid.
        WeightsError: the checkpoint or the weights in `init` are damaged, or do not match the config.
        OutputError: the run folder or the cache cannot be written to.
        SilkError: the gradient was infinite or NaN in too many consecutive steps.
        SystemExit: the run was interrupted (Ctrl-C, SIGTERM) and saved a checkpoint. The status is 130.
    """
    config = load_config(config_path, overrides or ())
    if not torch.cuda.is_available():
        allocator.keep_freed_pages()
    Trainer(config, Path(run)).run()


class Trainer:
    """Hold the model, the optimizers and the progress of a training run."""

    def __init__(self, config: TrainConfig, run: Path):
        self.config, self.folder = config, run
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        if config.optim.batch_crops % self.world:
            raise ArgumentError(
                f"optim.batch_crops must be a multiple of {self.world}, the number of processes;"
                f" got {config.optim.batch_crops}."
            )
        self.device = self._device()
        self.dtype = arithmetic(config.optim.precision, self.device)
        # These two are not in checkpoints, because the config names their weights.
        self.recognizer, self.speaker = self._recognizer(), self._speaker()
        if config.optim.threads:
            torch.set_num_threads(config.optim.threads)
        torch.manual_seed(config.seed)
        self.progress = Progress(run, config, quiet=self.rank > 0)
        cache = Path(config.data.cache) if config.data.cache else run.parent / "cache"
        self.data = {split: self._pack(split, cache) for split in ("train", "valid")}
        self.batches = Batches(self._batch)
        self.valid_waves = spread_clips(self.data["valid"], config.log.validate_clips, config.log.validate_clip_s)

        self.model = SilkNetwork(config.model).to(self.device)
        self.ema = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.losses = SpectralLoss().to(self.device)
        self.discriminators = self._discriminators()
        self.rate = self._rate()
        self.optimizers = self._optimizers()
        self.stage_index, self.step, self.steps_in_stage = 0, 0, 0
        self.seconds, self.seconds_in_stage = 0.0, 0.0  # time spent in training steps, also by earlier processes
        self.validated_step = -1  # step of the last validation
        self.stable_stage = -1  # stage of the weights in stable.safetensors
        self.skipped, self.skipped_in_row = 0, 0  # number of steps without a finite gradient
        self.finished = False  # whether the averaged weights have already been adjusted
        self.unadjusted: dict[str, Tensor] = {}  # averaged weights before the adjustment, for additional stages
        if (file := run / "checkpoint.safetensors").exists():
            self._resume(file)
        elif config.init:
            self._start_from(Path(config.init))
        if config.finish.blend_share and not self.finished:
            finish.check_sizes(self.model, finish.weights_of(Path(config.finish.blend)))
        if self.rank == 0:
            self._open_folder()

    # -- setup ----------------------------------------------------------------------------------

    def _device(self) -> torch.device:
        if self.world > 1:
            # While the first process decodes the audio or validates the model, the others wait.
            backend = "nccl" if torch.cuda.is_available() else "gloo"
            torch.distributed.init_process_group(backend, timeout=timedelta(days=1))
        if not torch.cuda.is_available():
            return torch.device("cpu")
        torch.backends.cudnn.benchmark = True  # the shapes do not change during a run
        torch.cuda.set_device(local := int(os.environ.get("LOCAL_RANK", 0)))
        return torch.device("cuda", local)

    def _pack(self, split: str, cache: Path) -> Pack:
        if self.rank > 0:
            torch.distributed.barrier()  # The first process decodes, and the others use its cache.
            return pack(self.config.data, split, cache)
        found = pack(self.config.data, split, cache, self.progress.say)
        self.progress.say(f"{split}: {len(found.clips)} files, {found.hours:.2f} h")
        if self.world > 1:
            torch.distributed.barrier()
        return found

    def _discriminators(self) -> Discriminators | None:
        if not self.config.uses(*ADVERSARIAL):
            return None
        adversary = self.config.adversary
        return Discriminators(adversary.periods, adversary.fft_sizes, adversary.width).to(self.device)

    def _rate(self) -> RateLoss | None:
        if not self.config.uses("rate"):
            return None
        return RateLoss(width=self.config.rate.width).to(self.device)

    def _recognizer(self) -> RecognizerLoss | None:
        if not self.config.uses("recognizer"):
            return None
        # It is not compiled: matrix products take nearly all of its time, so compilation saves only 5 %.
        return load_recognizer(self.config.recognizer, self.dtype).to(self.device)

    def _speaker(self) -> SpeakerLoss | None:
        if not self.config.uses("speaker"):
            return None
        return load_speaker_loss(self.config.speaker.weights).to(self.device)

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimizers: Muon for most weight matrices, and AdamW for all other parameters."""
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
        if self.rate is not None:
            optimizers["rate"] = torch.optim.AdamW(
                self.rate.parameters(), lr=self.config.rate.learning_rate, betas=(0.9, 0.95), weight_decay=0.0
            )
        return optimizers

    # -- checkpoints ----------------------------------------------------------------------------

    def _auxiliary(self) -> dict[str, nn.Module]:
        """Return the networks that are trained with the codec but not exported, keyed by their name in checkpoints."""
        found = {"discriminators": self.discriminators, "rate": self.rate}
        return {name: module for name, module in found.items() if module is not None}

    def _groups(self) -> dict[str, dict[str, Tensor]]:
        groups = {"model": self.model.state_dict(), "ema": self.ema.state_dict()}
        if self.unadjusted:
            groups["unadjusted"] = self.unadjusted
        groups |= {name: module.state_dict() for name, module in self._auxiliary().items()}
        for name, optimizer in self.optimizers.items():
            groups[f"optimizer_{name}"] = checkpoint.optimizer_tensors(optimizer)
        return groups

    def save(self, name: str = "checkpoint.safetensors") -> None:
        """Write a checkpoint to the run folder."""
        where: dict[str, float] = {"stage": self.stage_index, "steps_in_stage": self.steps_in_stage, "step": self.step}
        where |= {"seconds": self.seconds, "seconds_in_stage": self.seconds_in_stage, "skipped": self.skipped}
        where |= {"stable_stage": self.stable_stage, "finished": self.finished}
        checkpoint.save(self.folder / name, self._groups(), where)

    def _resume(self, file: Path) -> None:
        groups, progress = checkpoint.load(file)
        self.finished = progress.get("finished", False) and progress["stage"] >= len(self.config.stage)
        if self.finished:
            self.unadjusted = groups.get("unadjusted", {})
        elif "unadjusted" in groups:  # The config has more stages than before.
            groups["ema"] = groups["unadjusted"]
        checkpoint.fill(self.model, groups, "model", file)
        checkpoint.fill(self.ema, groups, "ema", file)
        for name, module in self._auxiliary().items():
            if name in groups:
                checkpoint.fill(module, groups, name, file)
        self._restore_optimizers(self.optimizers, groups, file)
        self.stage_index, self.steps_in_stage = progress["stage"], progress["steps_in_stage"]
        self.step, self.seconds = progress["step"], progress["seconds"]
        self.seconds_in_stage = progress.get("seconds_in_stage", 0.0)  # earlier versions did not save it
        self.skipped = progress.get("skipped", 0)
        self.stable_stage = progress.get("stable_stage", self.stage_index)
        self.progress.say(f"resumed at step {self.step}, after {self.seconds / 3600:.2f} h of training")

    def _restore_optimizers(self, names: Iterable[str], groups: dict[str, dict[str, Tensor]], file: Path) -> None:
        for name in names:
            if tensors := groups.get(f"optimizer_{name}"):
                checkpoint.restore_optimizer(self.optimizers[name], tensors, file)

    def _start_from(self, source: Path) -> None:
        """Initialize the model from exported weights, a run or a checkpoint.

        The optimizer state, the discriminators and the model of the rate loss are also loaded if they are available and
        match the config.
        """
        if (file := checkpoint.find(source, "init")) is not None:
            groups, _ = checkpoint.load(file)
            # The optimizer state of a checkpoint belongs to the raw weights.
            group = "model" if file == source else "ema"
            if found := groups.get(group, {}):
                groups[group] = with_noise(self.model, found)
            checkpoint.fill(self.model, groups, group, file)
            for name, module in self._auxiliary().items():
                if _same_shapes(module, groups.get(name)):
                    checkpoint.fill(module, groups, name, file)
                    self._restore_optimizers([name], groups, file)
                    self.progress.say(f"loaded the {AUXILIARY[name]} from {file}")
            ours = self.optimizers.keys() - AUXILIARY.keys()
            theirs = {name for name in ("adamw", "muon") if groups.get(f"optimizer_{name}")}
            if ours == theirs and len(groups[group]) == len(found):  # The state has no values for added parameters.
                self._restore_optimizers(ours, groups, file)
        else:
            from silkcodec_torch.train import export  # It imports onnx, which only this case needs.

            export.load_weights(self.model, source)
            for difference in export.different_settings(self.config.model, source):
                self.progress.say(f"the weights in {source} differ from [model]: {difference}")
        self.progress.say(f"starting from the weights in {source}")
        # Resetting changes both parts, so neither can stay frozen.
        trains_both = any(stage.train_encoder and stage.train_decoder for stage in self.config.stage)
        if trains_both and (reset := stuck.reset(self.model, self.valid_waves)):
            self.progress.say(f"reset dimensions that were stuck on one level: {', '.join(map(str, reset))}")
        self.ema.load_state_dict(self.model.state_dict())

    def _open_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "config.toml").write_text(dump_config(self.config), encoding="utf-8")
            self.validated_step = self.progress.rewind(self.step)
        except OSError as error:
            raise OutputError(f"Cannot write to the run folder '{self.folder}': {error.strerror}.") from error

    # -- the loop -------------------------------------------------------------------------------

    def run(self) -> None:
        """Run all remaining training stages, then validate the model."""
        with Interrupts() as interrupts, self.progress, closing(self.batches):
            stages = self.config.stage
            if self.stage_index >= len(stages):
                self.progress.say(f"the run is complete at step {self.step}; to continue, add stages to its config")
            while self.stage_index < len(stages):
                self._run_stage(stages[self.stage_index], interrupts)
                self.stage_index, self.steps_in_stage, self.seconds_in_stage = self.stage_index + 1, 0, 0.0
                if self.rank == 0:
                    self.save()
            if self.rank == 0:
                self._finish()
        if self.world > 1:
            torch.distributed.destroy_process_group()

    def _run_stage(self, stage: StageConfig, interrupts: Interrupts) -> None:
        trained = {"encoder": stage.train_encoder, "quantizer": stage.train_encoder, "decoder": stage.train_decoder}
        for name, is_trained in trained.items():
            part = getattr(self.model, name)
            part.requires_grad_(is_trained)
            if not is_trained and self.steps_in_stage == 0:
                # A frozen part gets its averaged weights, which are exported. The other parts are then trained with the
                # part that they work with after the export.
                part.load_state_dict(getattr(self.ema, name).state_dict())
        self.model.quantizer.train(stage.train_encoder)  # Learned codebooks are frozen with the encoder.
        network, spectral = self._compiled(stage)
        self.progress.begin(stage)
        saved = time.monotonic()
        done = self._done(stage)
        while done < 1:
            if self.rank == 0 and done >= 1 - stage.decay_share and self.stable_stage != self.stage_index:
                self.stable_stage = self.stage_index
                self.save("stable.safetensors")  # A later run can start from it.
            begun = time.monotonic()
            values = self._step(stage, done, network, spectral)
            self.step, self.steps_in_stage = self.step + 1, self.steps_in_stage + 1
            elapsed = time.monotonic() - begun
            self.seconds, self.seconds_in_stage = self.seconds + elapsed, self.seconds_in_stage + elapsed
            audio_s = self.config.optim.batch_crops * self.config.data.crop_s
            done = self._done(stage)
            self.progress.update(self.step, done, values, elapsed, audio_s)
            if self._any(interrupts.requested):
                self._stop()
            if self.rank == 0:
                if time.monotonic() - saved > self.config.log.checkpoint_minutes * 60:
                    self.save()
                    saved = time.monotonic()
                if self.step % self.config.log.validate_steps == 0:
                    self._validate()

    def _finish(self) -> None:
        """Adjust the averaged weights, validate them and save them."""
        if not self.finished:
            self._adjust()
        if self.validated_step != self.step:
            self._validate()
        if not self.finished:  # A run that crashes before this point adjusts and validates the weights again.
            self.finished = True
            self.save()

    def _adjust(self) -> None:
        """Blend and equalize the averaged weights as the config specifies."""
        config = self.config.finish
        if config.blend_share or config.equalize_clips:
            self.unadjusted = {name: tensor.clone() for name, tensor in self.ema.state_dict().items()}
            self.validated_step = -1  # The weights change, so validate them again.
        if config.blend_share:
            finish.blend(self.ema, finish.weights_of(Path(config.blend)), config.blend_share)
            self.progress.say(
                f"averaged the weights with those in {config.blend}, which have a share of {config.blend_share:g}"
            )
        if config.equalize_clips:
            recordings = spread_clips(self.data["train"], config.equalize_clips, self.config.log.validate_clip_s)
            gain = finish.equalize(self.ema, recordings)
            self.progress.say(f"equalized the output with gains of {gain.min():.1f} to {gain.max():.1f} dB")

    def _done(self, stage: StageConfig) -> float:
        """Return the completed fraction of a stage, 0..1."""
        if stage.unit == "steps":
            return self.steps_in_stage / stage.length
        seconds = torch.tensor(self.seconds_in_stage, dtype=torch.float64)
        if self.world > 1:  # Times differ between processes, but all of them must stop at the same step.
            torch.distributed.broadcast(seconds := seconds.to(self.device), src=0)
        return min(1.0, float(seconds) / (60 * stage.length))

    def _stop(self) -> None:
        """Save a checkpoint and exit with status 130."""
        if self.rank == 0:
            self.save()
            self.progress.say(f"interrupted and saved at step {self.step}; rerun the same command to resume")
        if self.world > 1:
            torch.distributed.destroy_process_group()
        raise SystemExit(INTERRUPTED)

    def _any(self, flag: bool) -> bool:
        """Return whether `flag` is true in any process."""
        if self.world == 1:
            return flag
        votes = torch.tensor(float(flag), device=self.device)
        torch.distributed.all_reduce(votes)
        return votes.item() > 0

    def _compiled(self, stage: StageConfig) -> tuple[Any, Any]:
        network: nn.Module = self.model
        if self.world > 1 and stage.trains_codec:  # DDP refuses a network without trained parameters.
            ids = [self.device.index] if self.device.type == "cuda" else None
            network = nn.parallel.DistributedDataParallel(network, device_ids=ids)
        if not self.config.optim.compile:
            return network, self.losses
        return torch.compile(network, dynamic=False), torch.compile(self.losses, dynamic=False)

    def _batch(self, step: int) -> Batch:
        """Return this process's part of a training batch."""
        config = self.config
        share = config.optim.batch_crops // self.world
        batch = crops(self.data["train"], config.data, share, config.seed * 1009 + self.rank, step)
        return Batch(*(tensor.pin_memory() for tensor in batch)) if self.device.type == "cuda" else batch

    def _step(self, stage: StageConfig, done: float, network: Any, spectral: Any) -> dict[str, float]:
        """Train on one batch, and return the values to log. `done` is the completed fraction of the stage."""
        config = self.config
        # Learned codebooks draw random numbers. With a seed for each step, resumed runs draw the same ones.
        torch.manual_seed(int(np.random.default_rng((config.seed, self.step, 3)).integers(2**63)))
        batch = self.batches.take(self.step)
        given, target, bandwidth = (tensor.to(self.device, non_blocking=True) for tensor in batch)
        positions = self._positions(len(given))
        if positions is not None and not stage.trains_codec:
            positions = positions[:1]  # The discriminators use only the first version.
        with self._autocast():
            reconstruction = network(given, positions)
        wave = reconstruction.wave
        if batch.bandwidth_hz.isfinite().any():
            wave, target = limit_band(wave, bandwidth), limit_band(target, bandwidth)
        discriminators = self.discriminators if any(stage.losses.get(name) for name in ADVERSARIAL) else None
        if discriminators is not None:
            loss, learned = self._compare(target, wave[: len(target)])
            gradients = self._discriminator_gradients(loss, stage.trains_codec)
            if not stage.trains_codec:
                self._update_discriminators(stage, done, gradients)
                return numbers({"discriminator": loss})
        terms = dict(spectral(wave, target))
        if discriminators is not None:
            terms |= learned | {"discriminator": loss}  # The last one is only reported.
        if stage.losses.get("recognizer"):
            assert self.recognizer is not None
            n_crops = min(-(-config.recognizer.crops // self.world), len(target))
            terms["recognizer"] = self.recognizer(wave[:n_crops], target[:n_crops])
        if stage.losses.get("speaker"):
            assert self.speaker is not None
            terms["speaker"] = self.speaker(wave[: len(target)], target)
        if stage.losses.get("rate"):
            assert self.rate is not None
            terms["rate"] = self.rate(reconstruction.latent, reconstruction.codes)
        weights = dict(stage.losses)
        if config.adversary.ramp_steps and "adversarial" in weights:
            weights["adversarial"] *= min(1.0, (self.steps_in_stage + 1) / config.adversary.ramp_steps)
        total = reconstruction.loss + sum(weight * terms[name] for name, weight in weights.items() if weight)
        # The graph includes the discriminators, but they need no gradients. With DDP, `inputs` must be None.
        learners = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        predictor = list(self.rate.parameters()) if self.rate is not None and "rate" in terms else []
        total.backward(inputs=learners + predictor if self.world == 1 else None)
        self._average_over_processes([parameter.grad for parameter in predictor if parameter.grad is not None])
        if discriminators is not None:
            discriminators.zero_grad(set_to_none=True)  # They have gradients with DDP.
        gradient = nn.utils.clip_grad_norm_(self.model.parameters(), config.optim.clip_norm)
        # A GPU is waited for only here, and when the discriminators are updated.
        values = numbers({"total": total, "gradient": gradient, **terms})
        if discriminators is not None:
            self._update_discriminators(stage, done, gradients)
        if self._any(not math.isfinite(values["gradient"] + values.pop("total"))):
            self._skip()
            return {}
        self.skipped_in_row = 0
        scale = learning_rate(1.0, config.optim.warmup_steps, stage, self.steps_in_stage, done)
        peaks = {name: config.optim.learning_rate for name in ("adamw", "muon")} | {"rate": config.rate.learning_rate}
        for name, optimizer in self.optimizers.items():
            if name in peaks:
                for group in optimizer.param_groups:
                    group["lr"] = peaks[name] * scale
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        self._average()
        return values | {"learning_rate": peaks["adamw"] * scale}

    def _segment(self) -> slice:
        """Return the slice of each crop that the discriminators process in the current step."""
        n_crop = self.config.data.crop_frames * FRAME
        n_samples = round(self.config.adversary.crop_s * SAMPLE_RATE) or n_crop
        # With a separate generator, the batches do not depend on `crop_s`.
        begin = int(np.random.default_rng((self.config.seed, self.step, 1)).integers(n_crop - n_samples + 1))
        return slice(begin, begin + n_samples)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype is torch.bfloat16)

    def _skip(self) -> None:
        """Skip the update of the weights in the current step.

        Raises:
            SilkError: `MAX_SKIPPED` consecutive steps had no finite gradient.
        """
        for module in filter(None, (self.model, self.rate)):
            module.zero_grad(set_to_none=True)
        self.skipped, self.skipped_in_row = self.skipped + 1, self.skipped_in_row + 1
        self.progress.say(
            f"step {self.step + 1}: skipped, because the gradient is not finite ({self.skipped} skipped so far)"
        )
        if self.skipped_in_row >= MAX_SKIPPED:
            raise SilkError(
                f"The gradient was not finite in {MAX_SKIPPED} consecutive steps, up to step {self.step + 1}."
                " Lower optim.learning_rate and rerun the command to resume from the last checkpoint."
            )

    def _positions(self, batch: int) -> Tensor | None:
        """Return start positions of the decoder's noise, float32 [2, B], or None if the decoder adds no noise."""
        if not self.config.model.noise:
            return None
        rng = np.random.default_rng((self.config.seed, self.step, self.rank, 2))
        return torch.from_numpy(rng.integers(NOISE_LENGTH, size=(2, batch)).astype(np.float32)).to(self.device)

    def _compare(self, target: Tensor, wave: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the discriminator loss, and the codec's adversarial losses, keyed by name."""
        assert self.discriminators is not None
        original, decoded = at_one_level(*(both[:, self._segment()] for both in (target, wave)))
        with self._autocast():  # Two batches keep the originals out of the codec's backward pass.
            real, fake = self.discriminators(original), self.discriminators(decoded)
        return discriminator_loss(real, fake), adversarial_losses(real, fake)

    def _discriminator_gradients(self, loss: Tensor, trains_codec: bool) -> list[Tensor] | None:
        """Return the discriminators' gradients, or None in steps without a discriminator update.

        Args:
            loss: discriminator loss.
            trains_codec: whether the stage also trains the codec, whose gradients need the same autograd graph.
        """
        if trains_codec and self.step % self.config.adversary.every_steps:
            return None
        assert self.discriminators is not None
        return list(torch.autograd.grad(loss, list(self.discriminators.parameters()), retain_graph=trains_codec))

    def _update_discriminators(self, stage: StageConfig, done: float, gradients: list[Tensor] | None) -> None:
        """Update the discriminators, unless `gradients` is None. Call this after the codec's backward pass."""
        if gradients is None:
            return
        assert self.discriminators is not None
        optimizer = self.optimizers["discriminators"]
        self._average_over_processes(gradients)
        if not math.isfinite(float(nn.utils.get_total_norm(gradients))):  # the same in all processes
            return
        for parameter, gradient in zip(self.discriminators.parameters(), gradients, strict=True):
            parameter.grad = gradient
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(self.config.adversary.learning_rate, 0, stage, self.steps_in_stage, done)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def _average_over_processes(self, gradients: list[Tensor]) -> None:
        """Replace gradients by their mean over all processes, for networks that DDP does not wrap."""
        if self.world > 1:
            for gradient in gradients:
                torch.distributed.all_reduce(gradient)
                gradient /= self.world

    @torch.no_grad()
    def _average(self) -> None:
        """Update the moving average of the weights."""
        decay = self.config.optim.ema_decay
        if not self.config.init:
            decay = min(decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.ema.parameters()), list(self.model.parameters()), 1 - decay)
        for mine, theirs in zip(self.ema.buffers(), self.model.buffers(), strict=True):
            mine.copy_(theirs)  # Learned codebooks are already running means, and other buffers are constant.

    def _validate(self) -> None:
        scores = validate(self.ema, self.valid_waves, self.folder / "audio" / f"step_{self.step:07d}")
        self.progress.report(self.step, scores, {"hours": round(self.seconds / 3600, 4), "skipped": self.skipped})
        self.validated_step = self.step


def _same_shapes(module: nn.Module, tensors: dict[str, Tensor] | None) -> bool:
    ours = {name: tensor.shape for name, tensor in module.state_dict().items()}
    return tensors is not None and ours == {name: tensor.shape for name, tensor in tensors.items()}


def numbers(scalars: dict[str, Tensor]) -> dict[str, float]:
    """Return scalar tensors as numbers, with a single transfer from their device."""
    together = torch.stack([scalar.detach().float() for scalar in scalars.values()])
    return dict(zip(scalars, together.tolist(), strict=True))


def at_one_level(target: Tensor, wave: Tensor) -> tuple[Tensor, Tensor]:
    """Normalize originals to a root mean square of 1, and apply the same gains to the decoded audio.

    The gains are limited to 60 dB. Without normalization, the level of most recordings is too low for the
    discriminators.

    Args:
        target: originals, float32 [B, T].
        wave: decoded audio, float32 [B, T].
    """
    gain = target.square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-3).reciprocal()
    return target * gain, wave * gain


def learning_rate(peak: float, warmup_steps: int, stage: StageConfig, step: int, done: float) -> float:
    """Return the learning rate of a warmup-stable-decay schedule (Hu et al., MiniCPM, 2024).

    Args:
        peak: learning rate between warm-up and decay.
        warmup_steps: number of warm-up steps.
        stage: current stage, which scales the learning rate and sets the length of the decay.
        step: step within the stage, counted from 0.
        done: completed fraction of the stage, 0..1.
    """
    warm = min(1.0, (step + 1) / max(1, warmup_steps))
    cool = min(1.0, (1 - done) / stage.decay_share) if stage.decay_share else 1.0
    return peak * stage.learning_rate_scale * warm * cool
