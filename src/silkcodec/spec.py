"""Define the constants of the token format.

audio     24,000 samples/s
mel       128 bands, one column per 240 samples (10 ms)
frame     9,600 samples = 40 columns = 400 ms -> 128 levels in 0..7
tokens    18 groups of 7 levels and one group of 2: 19 tokens per frame, 47.5 tokens/s, 960 bit/s
"""

from __future__ import annotations

SILK_SAMPLE_RATE = 24_000  # Hz
FRAME_SAMPLES = 9_600  # samples in one Silk frame: 400 ms
SILK_FRAME_RATE = SILK_SAMPLE_RATE / FRAME_SAMPLES  # Hz: 2.5
LATENT_WIDTH = 128  # FSQ dimensions of a Silk frame
N_LEVELS = 8  # possible levels of each dimension
MAX_S = 1e12  # upper limit for times in seconds, so that numbers of samples fit into 64 bits
DIMS_PER_TOKEN = 7  # FSQ dimensions per token in Silk's default grouping

N_FFT = 1024  # samples in a spectrogram window
HOP = 240  # samples between spectrogram columns: 10 ms
N_MELS = 128  # mel bands
LOOKAHEAD = 480  # samples after a column that its window includes: 20 ms
HISTORY = N_FFT - HOP - LOOKAHEAD  # samples before a column that its window includes: 304
COLUMNS = FRAME_SAMPLES // HOP  # mel columns in one Silk frame: 40
NOISE_LENGTH = 7919  # columns after which the decoder's noise repeats (79 s); a prime number
FLOOR = 1e-5  # lower limit for mel magnitudes before the logarithm
