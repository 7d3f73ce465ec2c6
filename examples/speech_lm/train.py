"""Train a small speech language model on Silk's tokens, within minutes on a CPU.

    python train.py SPEECH -o run                     # SPEECH: a folder of audio files, or an INDEX.tsv
    python train.py TOKENS -o run                     # TOKENS: a folder of Parquet shards from `silk tokenize`

The program reports the bits per frame (400 ms) of held-out speech. Compare them with the 384 raw bits, and with a
unigram model, which uses only the frequency of each level. Then run `python sample.py run -o sample.wav`.
"""

import argparse
import json
import math
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from model import LEVELS, SpeechModel
from numpy.typing import NDArray
from safetensors.torch import save_file

import silkcodec
from silkcodec import audio, lm
from silkcodec.errors import ArgumentError, SilkError
from silkcodec.evaluate import machine, results
from silkcodec.evaluate.clips import find_clips
from silkcodec_torch.train.precision import has_bfloat16

BFLOAT16 = has_bfloat16(torch.device("cpu"))  # Emulated bfloat16 is many times slower than float32.
FRAME_S = 0.4
HELD_OUT_EVERY = 10  # Hold out one clip in ten.
AT_ONCE = 64  # clips per call of encode_batch
POINTS = 20  # points on the loss curve
MAX_SCORED_S = 900.0  # limit for the held-out speech that is evaluated at each point


@dataclass
class Speech:
    """Hold the frames for training and evaluation ([F, P, H]) and their layout."""

    layout: lm.Layout
    train: NDArray[np.int64]
    held_out: NDArray[np.int64]
    n_clips: tuple[int, int]
    tokenized_s: float


def read_speech(data: str, splits: tuple[str, str] | None, hours: float, seed: int) -> Speech:
    """Encode a folder of audio files, or read a tokenized corpus, up to the given number of hours."""
    began = time.perf_counter()
    if Path(data).is_dir() and list(Path(data).glob("tokens-*")):
        from silkcodec import corpus  # [corpus] extra

        parts = split([row.tokens for row in corpus.read(data)], seed)
        encode = list
    else:
        codec = silkcodec.load()
        codec.prepare(encode=True)
        if splits is None:
            parts = split(find_clips([data]), seed)
        else:
            parts = [find_clips([data], split=name) for name in splits]
            for part in parts:
                random.Random(seed).shuffle(part)

        def encode(clips: list) -> list:
            return codec.encode_batch([audio.read(clip.path) for clip in clips])

    joined, counts, layout = [], [], None
    for name, part, share in zip(("training", "held-out"), parts, (0.9, 0.1), strict=True):
        frames: list[NDArray[np.int64]] = []
        n_frames = math.ceil(hours * 3600 * 2.5 * share)
        for i in range(0, len(part), AT_ONCE):
            for tokens in encode(part[i : i + AT_ONCE]):
                layout = layout or lm.Layout.of(tokens)
                frames.append(layout.frames(tokens))
            done = sum(map(len, frames))
            print(f"\r{name}: {min(done, n_frames) / 9000:.2f} h of speech", end="", file=sys.stderr)
            if done >= n_frames:
                break
        print(file=sys.stderr)
        joined.append(np.concatenate(frames)[:n_frames])
        counts.append(len(frames))
    assert layout is not None
    return Speech(layout, joined[0], joined[1], (counts[0], counts[1]), time.perf_counter() - began)


def split(clips: list, seed: int) -> list[list]:
    """Split clips at random into training clips and held-out clips.

    Raises:
        ArgumentError: there are fewer than two clips.
    """
    if len(clips) < 2:
        raise ArgumentError(f"At least two clips are required, because one is held out; got {len(clips)}.")
    random.Random(seed).shuffle(clips)
    n_held_out = -(-len(clips) // HELD_OUT_EVERY)
    return [clips[n_held_out:], clips[:n_held_out]]


def unigram(frames: NDArray[np.int64]) -> torch.Tensor:
    """Return the log frequency of each level, float32 [P, H, 8]."""
    counts = np.stack([(frames == level).sum(0) for level in range(LEVELS)], axis=-1) + 0.5
    return torch.from_numpy(np.log(counts / counts.sum(-1, keepdims=True))).float()


@torch.inference_mode()
def held_out_bits(model: SpeechModel, frames: torch.Tensor) -> float:
    """Return the mean cross-entropy in bits per frame."""
    n_windows = len(frames) // model.window
    windows = frames[: n_windows * model.window].unflatten(0, (n_windows, model.window))
    with torch.autocast("cpu", torch.bfloat16, enabled=BFLOAT16):
        return torch.cat([model.bits(part).mean(1) for part in windows.split(8)]).mean().item()


def train(speech: Speech, args: argparse.Namespace) -> tuple[SpeechModel, list[dict[str, Any]], float]:
    """Train a model.

    Returns:
        The model with the lowest held-out loss, the loss curve, and the training time in seconds.
    """
    torch.manual_seed(args.seed)
    window = min(round(args.window * 2.5), len(speech.train), len(speech.held_out))
    sizes = torch.from_numpy(speech.layout.head_sizes)
    model = SpeechModel(sizes, window, args.width, args.layers, args.heads)
    with torch.no_grad():
        model.bias.copy_(unigram(speech.train))
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate, betas=(0.9, 0.95), weight_decay=0.05)
    frames, held_out = torch.from_numpy(speech.train), torch.from_numpy(speech.held_out)[: int(MAX_SCORED_S * 2.5)]
    rng = np.random.default_rng(args.seed)
    best = {name: value.clone() for name, value in model.state_dict().items()}
    curve: list[dict[str, Any]] = [
        {"step": 0, "speech_s": 0.0, "wall_s": 0.0, "train": None, "held_out": held_out_bits(model, held_out)}
    ]
    print(f"unigram: {curve[0]['held_out']:.1f} bits per held-out frame, of {speech.layout.raw_bits_per_frame:.0f}")
    wall_s, recent = 0.0, []
    for step in range(1, args.steps + 1):
        began = time.perf_counter()
        warm, done = min(1.0, step / 50), step / args.steps
        for group in optimizer.param_groups:  # linear warm-up and cosine decay to a tenth
            group["lr"] = args.learning_rate * warm * (0.55 + 0.45 * math.cos(math.pi * done))
        starts = rng.integers(0, len(frames) - window + 1, args.batch)
        with torch.autocast("cpu", torch.bfloat16, enabled=BFLOAT16):
            bits = model.bits(torch.stack([frames[s : s + window] for s in starts])).mean()
        optimizer.zero_grad()
        (bits / len(sizes)).backward()  # bits per token
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        wall_s += time.perf_counter() - began
        recent.append(bits.item())
        if step % max(1, args.steps // POINTS) == 0 or step == args.steps:
            point = {
                "step": step, "speech_s": step * args.batch * window / 2.5, "wall_s": wall_s,
                "train": float(np.mean(recent)), "held_out": held_out_bits(model, held_out),
            }  # fmt: skip
            recent.clear()
            if point["held_out"] <= min(p["held_out"] for p in curve):
                best = {name: value.clone() for name, value in model.state_dict().items()}
            curve.append(point)
            print(f"step {step}: {point['train']:.1f} bits per frame in training, {point['held_out']:.1f} held out,"
                  f" {wall_s:.0f} s")  # fmt: skip
    model.load_state_dict(best)
    return model.eval(), curve, wall_s


def save(run: Path, model: SpeechModel, speech: Speech, args: argparse.Namespace) -> None:
    """Write the model and its config.json."""
    run.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), run / "model.safetensors")
    size = {"window": model.window, "width": args.width, "layers": args.layers, "heads": args.heads}
    sizes = speech.layout.head_sizes.tolist()
    config = {"codec": speech.layout.codec, "head_sizes": sizes, "model": size}
    (run / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("data", help="folder of audio files, manifest, or folder of Parquet shards")
    add("-o", "--run", type=Path, required=True, help="folder for the model")
    add(
        "--splits",
        help="training and evaluation split of a manifest, such as train,valid (default: hold out one clip in ten)",
    )
    add("--hours", type=float, default=4.0, help="maximum hours of speech, including the held-out tenth")
    add("--steps", type=int, default=800)
    add("--batch", type=int, default=8, help="windows per step")
    add("--window", type=float, default=10.0, help="context of the model in seconds")
    add("--width", type=int, default=256)
    add("--layers", type=int, default=6)
    add("--heads", type=int, default=4)
    add("--learning-rate", type=float, default=1.5e-3)
    add("--seed", type=int, default=0)
    add("--threads", type=int, help="PyTorch threads")
    add("--results", type=Path, help="JSON file for the results")
    args = parser.parse_args(argv)
    splits = tuple(args.splits.split(",")) if args.splits else None
    if splits is not None and len(splits) != 2:
        parser.error(f"--splits must be two names, such as train,valid; got '{args.splits}'")
    if args.window < FRAME_S:
        parser.error(f"--window must be at least {FRAME_S:g} s, the length of a frame; got {args.window:g}")
    if args.hours <= 0:
        parser.error(f"--hours must be above 0; got {args.hours:g}")
    torch.set_num_threads(args.threads or torch.get_num_threads())
    found, before = machine.conditions(), machine.clocks()
    try:
        speech = read_speech(args.data, splits, args.hours, args.seed)
        if speech.layout.head_sizes.max() > LEVELS:
            raise ArgumentError(
                f"Tokens must consist of levels from 0 to {LEVELS - 1}, like Silk's; got '{speech.layout.codec}'."
            )
    except SilkError as error:
        parser.exit(2, f"train.py: {error}\n")
    model, curve, train_s = train(speech, args)
    save(args.run, model, speech, args)
    least = min(curve, key=lambda point: point["held_out"])
    result = {
        **results.head("silk speech lm", 1), "codec": speech.layout.codec,
        "quick": len(speech.train) < 9000,  # less than an hour of speech
        "settings": {name: getattr(args, name) for name in (
            "splits", "hours", "steps", "batch", "window", "width", "layers", "heads", "learning_rate", "seed")}
        | {"threads": torch.get_num_threads(), "precision": "bf16" if BFLOAT16 else "fp32"},
        "speech": {name: {"n_clips": n, "duration_s": len(frames) / 2.5} for name, n, frames in (
            ("train", speech.n_clips[0], speech.train), ("held_out", speech.n_clips[1], speech.held_out))},
        "conditions": {**found, "others_cores": machine.others_cores(before, machine.clocks())},
        "parameters": sum(p.numel() for p in model.parameters()),
        "bits_per_frame": {"raw": speech.layout.raw_bits_per_frame, "unigram": curve[0]["held_out"],
                           "model": least["held_out"], "model_step": least["step"]},
        "tokenize_s": speech.tokenized_s, "train_s": train_s, "curve": curve,
    }  # fmt: skip
    print(f"held-out bits per frame: raw {result['bits_per_frame']['raw']:.0f}, unigram {curve[0]['held_out']:.1f},"
          f" model {least['held_out']:.1f} (step {least['step']})")  # fmt: skip
    if args.results:
        args.results.write_text(results.to_json(result))
    return result


if __name__ == "__main__":
    main()
