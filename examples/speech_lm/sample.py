"""Sample tokens from a model written by train.py, and decode each frame as soon as it is complete.

    python sample.py run -o sample.wav                              # also writes a spectrogram, sample.png
    python sample.py run -o - | aplay -t raw -f S16_LE -r 24000     # play while sampling
    python sample.py run -o sample.wav --prompt voice.flac          # continue a recording

Audio output starts after one frame, which is 19 steps of the model.
"""

import argparse
import itertools
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from model import SpeechModel
from safetensors import SafetensorError
from safetensors.torch import load_file

import silkcodec
from silkcodec import StreamDecoder, audio, lm, picture
from silkcodec.errors import ArgumentError, SilkError
from silkcodec.evaluate.results import to_json
from silkcodec.mel import log_mel


def load(run: Path) -> tuple[SpeechModel, str]:
    """Return the model of a run and the id of the codec whose tokens it needs.

    Raises:
        ArgumentError: the folder is not a run of train.py, or a file is damaged.
    """
    try:
        config = json.loads((run / "config.json").read_text())
        model = SpeechModel(torch.tensor(config["head_sizes"]), **config["model"])
        model.load_state_dict(load_file(run / "model.safetensors"))
        return model.eval(), config["codec"]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip().rstrip(".")
        raise ArgumentError(f"Cannot read the model in '{run}': {reason}. Pass a folder written by train.py.") from None


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Sample speech, write it to a file, and return the measured times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("run", type=Path, help="folder written by train.py")
    add("-o", "--output", required=True, help="audio file, or - for raw 16-bit samples on stdout")
    add("--seconds", type=float, default=10.0, help="duration of the output in seconds")
    add("--temperature", type=float, default=0.9, help="sampling temperature; lower values give less varied speech")
    add("--prompt", help="audio file to continue; its last seconds are the prompt")
    add("--prompt-seconds", type=float, default=4.0, help="duration of the prompt in seconds")
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=1, help="PyTorch threads; one is fastest for one stream")
    add("--results", type=Path, help="results file from train.py; adds the measured times to it")
    args = parser.parse_args(argv)
    if args.temperature <= 0:
        parser.error(f"--temperature must be above 0; got {args.temperature:g}")
    if args.prompt_seconds <= 0:
        parser.error(f"--prompt-seconds must be above 0; got {args.prompt_seconds:g}")
    torch.set_num_threads(args.threads)
    try:
        if args.output != "-":
            audio.output_format(args.output)  # reports an unknown suffix before sampling
        model, codec_id = load(args.run)
        codec = silkcodec.load()
        if codec.codec_id != codec_id:
            raise ArgumentError(f"The model needs tokens from '{codec_id}'; got the codec '{codec.codec_id}'.")
        layout, prompt = lm.Layout.of_codec(codec), None
        if args.prompt:
            recording = audio.read(args.prompt)[-math.ceil(args.prompt_seconds * codec.sample_rate) :]
            prompt = torch.from_numpy(layout.frames(codec.encode(recording)))
    except SilkError as error:
        parser.exit(2, f"sample.py: {error}\n")
    codec.prepare(decode=True)
    decoder = StreamDecoder(codec)
    if prompt is not None:  # Set the decoder's state, which depends on earlier frames.
        decoder.feed(layout.join(prompt.numpy()))
    began, first_s, waves = time.perf_counter(), 0.0, []
    frames = model.stream(torch.Generator().manual_seed(args.seed), args.temperature, prompt)
    for frame in itertools.islice(frames, max(1, math.ceil(args.seconds * 2.5))):
        wave = decoder.feed(layout.join(frame[None].numpy()))  # 400 ms of audio
        if not waves:
            first_s = time.perf_counter() - began
            print(f"first audio after {1000 * first_s:.0f} ms", file=sys.stderr)
        waves.append(wave)
        if args.output == "-":
            sys.stdout.buffer.write((np.clip(wave, -1, 1) * 32767).astype("<i2").tobytes())
            sys.stdout.buffer.flush()
    took_s, wave = time.perf_counter() - began, np.concatenate(waves)
    figures = {"first_audio_s": first_s, "times_real_time": len(wave) / codec.sample_rate / took_s}
    print(
        f"{len(wave) / codec.sample_rate:.1f} s of speech, {figures['times_real_time']:.1f} x real time",
        file=sys.stderr,
    )
    if args.output != "-":
        audio.write(args.output, wave, codec.sample_rate, overwrite=True)
        half = len(wave) // 2
        mels = [log_mel(part) for part in (wave[:half], wave[half : 2 * half])]
        seconds = half / codec.sample_rate
        titles = ("sampled from the model, first half", "second half")
        Path(args.output).with_suffix(".png").write_bytes(picture.spectrograms(*mels, seconds, titles))
    if args.results:
        result = json.loads(args.results.read_text())
        result["sampling"] = {**figures, "seconds": args.seconds, "temperature": args.temperature}
        args.results.write_text(to_json(result))
    return figures


if __name__ == "__main__":
    main()
