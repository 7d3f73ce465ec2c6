"""Augment training crops: low-pass filter, speed, second clip, reverberation, noise and gain."""

from __future__ import annotations

import numpy as np

from silkcodec.audio import Resampler, Wave
from silkcodec.mel import SAMPLE_RATE
from silkcodec_torch.train.config import DataConfig

LOW_PASS_ORDER = 24  # exponent of the low-pass filter, also of the losses
DIRECT_S = 0.003  # time between the direct sound and the first reflections


def augment(wave: Wave, config: DataConfig, rng: np.random.Generator, second: Wave | None = None) -> tuple[Wave, Wave]:
    """Augment a crop as the config specifies.

    Args:
        wave: crop, float32 [T] at 24 kHz.
        config: the [data] section of the config.
        rng: random generator.
        second: crop of another clip to add at a lower level, float32 [T].

    Returns:
        The encoder's input and the original to compare the decoded audio with, both float32 [T]. They are equal unless
        `config.clean_targets` is true.
    """
    if rng.random() < config.bandwidth_share:
        wave = low_pass(wave, rng.uniform(3400, 8000))
    target = wave
    if second is not None:
        wave = mix(wave, second, rng.uniform(5, 20))
    if config.room_share and rng.random() < config.room_share:
        wave = reverberate(wave, rng.uniform(0.2, 0.8), rng.uniform(0, 15), rng)
    if rng.random() < config.noise_share:
        level = 10 ** (rng.uniform(config.noise_db - 30, config.noise_db) / 20)
        wave = wave + (level * rng.standard_normal(len(wave))).astype(np.float32)
    if not config.clean_targets:
        target = wave
    gain = np.float32(10 ** (rng.uniform(-config.gain_db, config.gain_db) / 20))
    wave, target = wave * gain, target * gain
    peak = np.float32(max(1.0, np.abs(wave).max(), np.abs(target).max()))
    return wave / peak, target / peak


def low_pass(wave: Wave, cutoff_hz: float) -> Wave:
    """Remove the frequencies of a wave (float32 [T]) above a cutoff in Hz, where the attenuation is 6 dB."""
    hz = np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)
    return np.fft.irfft(np.fft.rfft(wave) / (1 + (hz / cutoff_hz) ** LOW_PASS_ORDER), len(wave)).astype(np.float32)


def change_speed(wave: Wave, from_rate: int, n_samples: int) -> Wave:
    """Change the speed and pitch of a wave by resampling, and return its first samples.

    Args:
        wave: samples, float32 [T].
        from_rate: sample rate in Hz from which the wave is resampled to 24 kHz. The speed and all frequencies are
            multiplied by from_rate / 24,000.
        n_samples: length of the result, at most T * 24,000 / from_rate.
    """
    resampler = Resampler(from_rate, SAMPLE_RATE)
    return np.concatenate([resampler.feed(wave), resampler.flush()])[:n_samples]


def mix(wave: Wave, second: Wave, ratio_db: float) -> Wave:
    """Add a second wave whose power is `ratio_db` below that of the first; both are float32 [T]."""
    ours, theirs = np.mean(wave**2), np.mean(second**2)
    gain = np.sqrt(ours / max(theirs, np.float32(1e-10))) * 10 ** (-ratio_db / 20)
    return wave + second * np.float32(gain)


def reverberate(wave: Wave, decay_s: float, ratio_db: float, rng: np.random.Generator) -> Wave:
    """Add artificial reverberation: convolve a wave with a pulse and exponentially decaying noise.

    Args:
        wave: samples, float32 [T].
        decay_s: reverberation time in seconds, in which the reverberation decays by 60 dB.
        ratio_db: energy of the direct sound relative to the reverberation, in dB.
        rng: random generator of the noise.
    """
    n_tail, n_direct = round(decay_s * SAMPLE_RATE), round(DIRECT_S * SAMPLE_RATE)
    tail = rng.standard_normal(n_tail) * 10 ** (-3 * np.arange(n_tail) / n_tail)
    tail[:n_direct] = 0
    tail *= 10 ** (-ratio_db / 20) / np.linalg.norm(tail)
    tail[0] = 1  # the direct sound
    n_fft = 1 << (len(wave) + n_tail - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(wave, n_fft) * np.fft.rfft(tail, n_fft), n_fft)
    return wet[: len(wave)].astype(np.float32)
