"""Test the network: causality, streaming, batches, the log-mel spectrogram, the noise and the inverse STFT."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from silkcodec import mel
from silkcodec.mel import COLUMNS, FRAME, HISTORY, HOP, LOOKAHEAD, N_MELS, SAMPLE_RATE
from silkcodec_torch.nn.decoder import BINS, WINDOW, InverseSTFTHead
from silkcodec_torch.nn.layers import KERNEL, STEPS, ConvNeXtBlock, frame_windows
from silkcodec_torch.nn.mel import LogMel
from silkcodec_torch.nn.model import SilkNetwork, fresh_states
from silkcodec_torch.nn.sizes import ModelConfig
from speechlike import speechlike

TINY = ModelConfig(
    conv_width=24, encoder_convs=1, decoder_convs=2, width=32, heads=2,
    encoder_layers=2, decoder_layers=2, past_frames=2,
)  # fmt: skip
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model() -> SilkNetwork:
    """Return an untrained model with large weights, so that all dependencies have an effect."""
    torch.manual_seed(0)
    network = SilkNetwork(TINY).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim >= 2:
                parameter.mul_(3.0)
            if "position" in name:
                parameter.normal_()
    return network


@pytest.fixture(scope="module")
def wave() -> torch.Tensor:
    """Return audio slightly longer than 6 frames, float32 [1, T]."""
    return torch.from_numpy(speechlike(2.5, seed=3))[None]


@pytest.fixture(scope="module")
def levels() -> torch.Tensor:
    return torch.randint(0, 8, (1, 6, 128), generator=torch.Generator().manual_seed(5))


# --- mel


def stream_of(wave: torch.Tensor) -> torch.Tensor:
    """Pad samples [B, T] for the encoder at the start, and at the end to whole frames plus the look-ahead."""
    return torch.nn.functional.pad(wave, (HISTORY, -wave.shape[1] % FRAME + LOOKAHEAD))


@pytest.mark.parametrize("n_samples", [1, FRAME - 1, FRAME, FRAME + 1, 30_000])
def test_log_mel_equals_the_reference(n_samples: int) -> None:
    wave = speechlike(2.0)[:n_samples]
    ours = LogMel()(stream_of(torch.from_numpy(wave)[None]))[0].numpy()
    reference = mel.log_mel(wave)
    assert ours.shape == reference.shape == (-(-n_samples // FRAME) * COLUMNS, N_MELS)
    assert np.abs(ours - reference).max() < 1e-3


@pytest.mark.parametrize("compiled", [False, True])
def test_training_uses_the_same_spectrogram_by_fft(compiled: bool) -> None:
    log_mel = LogMel()
    by_fft = torch.compile(log_mel.by_fft, backend="aot_eager", fullgraph=True) if compiled else log_mel.by_fft
    seen = torch.stack([stream_of(torch.from_numpy(speechlike(0.8, seed))[None])[0] for seed in (1, 2)])
    spectrum = by_fft(seen)
    assert spectrum.shape == (2, 2 * COLUMNS, N_MELS)
    assert float((spectrum - log_mel(seen)).abs().max()) < 1e-3


@pytest.mark.parametrize("hz", [200.0, 1000.0, 3000.0, 9000.0])
def test_a_sine_peaks_in_its_band(hz: float) -> None:
    seconds = np.arange(2 * FRAME) / SAMPLE_RATE
    wave = (0.5 * np.sin(2 * np.pi * hz * seconds)).astype(np.float32)
    spectrum = LogMel()(stream_of(torch.from_numpy(wave)[None]))[0, 10:-10].mean(dim=0)
    centres = mel.mel_to_hz(np.linspace(0.0, float(mel.hz_to_mel(SAMPLE_RATE / 2)), N_MELS + 2))[1:-1]
    peak = int(spectrum.argmax())
    assert abs(peak - int(np.abs(centres - hz).argmin())) <= 1
    assert abs(float(spectrum[peak]) - np.log(0.5 * mel.N_FFT / 4)) < 0.7  # a sine's peak under a Hann window


def test_silence_is_the_floor() -> None:
    spectrum = LogMel()(torch.zeros(1, HISTORY + FRAME + LOOKAHEAD))
    assert torch.allclose(spectrum, torch.tensor(mel.FLOOR).log())


# --- causality


def test_a_frame_depends_on_its_samples_and_480_more(model: SilkNetwork, wave: torch.Tensor) -> None:
    """Check that later samples do not change levels, and that the last of the 480 samples affects the latent."""
    end = 3 * FRAME + LOOKAHEAD  # frames 0..2 can depend on samples before this one
    before = model.encode(wave)
    changed = wave.clone()
    changed[:, end:] = torch.randn(1, wave.shape[1] - end, generator=torch.Generator().manual_seed(1))
    after = model.encode(changed)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3:], after[:, 3:])

    states = fresh_states(model.encoder.state_shapes(), 1, CPU)
    padded = torch.nn.functional.pad(wave, (0, LOOKAHEAD + -wave.shape[1] % FRAME))
    with torch.no_grad():
        shifted = padded.clone()
        shifted[:, end - LOOKAHEAD : end] += 0.3
        latents = []
        for version in (padded, shifted):
            states[0][:, HISTORY:] = version[:, :LOOKAHEAD]
            spectrum, _ = model.encoder.log_mel(version[:, LOOKAHEAD:], states[0])
            latents.append(model.encoder(spectrum, states[1:])[0])
    assert torch.equal(latents[0][:, :2], latents[1][:, :2])
    assert not torch.equal(latents[0][:, 2], latents[1][:, 2])  # the look-ahead is actually used


def test_the_window_of_the_last_column_ends_with_the_look_ahead() -> None:
    """Check that sample 479 after the frame is inside the window, and that sample 480 is not."""
    quiet = torch.zeros(1, HISTORY + FRAME + LOOKAHEAD + HOP)
    for position, inside in ((HISTORY + FRAME + LOOKAHEAD - 1, True), (HISTORY + FRAME + LOOKAHEAD, False)):
        click = quiet.clone()
        click[0, position] = 1e4  # the window is 1e-5 at its end
        columns = LogMel()(click)[0, :COLUMNS]
        assert bool((columns[-1] > np.log(mel.FLOOR) + 1).any()) is inside
        assert torch.allclose(columns[:-2], torch.tensor(mel.FLOOR).log())


def test_decoding_is_causal(model: SilkNetwork, levels: torch.Tensor) -> None:
    changed = levels.clone()
    changed[:, 4:] = 7 - changed[:, 4:]
    before, after = (model.decode(some, 6 * FRAME) for some in (levels, changed))
    assert torch.equal(before[:, : 4 * FRAME], after[:, : 4 * FRAME])
    assert not torch.equal(before[:, 4 * FRAME : 5 * FRAME], after[:, 4 * FRAME : 5 * FRAME])


def test_attention_covers_whole_frames_and_a_limited_past() -> None:
    frames = torch.arange(5).repeat_interleave(STEPS)[None, :, None]  # 2 past frames and 3 frames, numbered
    windows = frame_windows(frames, past_frames=2).reshape(3, 3, STEPS)
    expected = torch.tensor([[0, 1, 2], [1, 2, 3], [2, 3, 4]])
    assert torch.equal(windows, expected[:, :, None].expand(3, 3, STEPS))


def test_a_frame_does_not_depend_on_the_distant_past(model: SilkNetwork, levels: torch.Tensor) -> None:
    """Check the receptive field: two layers with two past frames cover four frames, and the convolutions add one."""
    many = torch.randint(0, 8, (1, 9, 128), generator=torch.Generator().manual_seed(8))
    changed = many.clone()
    changed[:, 0] = 7 - changed[:, 0]
    before, after = (model.decode(some, 9 * FRAME) for some in (many, changed))
    assert not torch.equal(before[:, 4 * FRAME : 5 * FRAME], after[:, 4 * FRAME : 5 * FRAME])
    assert torch.equal(before[:, 6 * FRAME :], after[:, 6 * FRAME :])


# --- streaming


def encode_in_chunks(model: SilkNetwork, wave: torch.Tensor, frames: list[int]) -> torch.Tensor:
    """Return the latent for audio in chunks of the given numbers of frames."""
    padded = torch.nn.functional.pad(wave, (0, -wave.shape[1] % FRAME + LOOKAHEAD))
    states = fresh_states(model.encoder.state_shapes(), len(wave), CPU)
    states[0][:, HISTORY:] = padded[:, :LOOKAHEAD]
    latents = []
    for chunk in padded[:, LOOKAHEAD:].split([n * FRAME for n in frames], dim=1):
        spectrum, states[0] = model.encoder.log_mel(chunk, states[0])
        latent, states[1:] = model.encoder(spectrum, states[1:])
        latents.append(latent)
    return torch.cat(latents, dim=1)


def decode_in_chunks(model: SilkNetwork, levels: torch.Tensor, frames: list[int]) -> torch.Tensor:
    states = fresh_states(model.decoder.state_shapes(), len(levels), CPU)
    waves = []
    for chunk in levels.split(frames, dim=1):
        wave, states = model.decoder(model.quantizer.decode(chunk), states)
        waves.append(wave)
    return torch.cat(waves, dim=1)


CUTS = st.sets(st.integers(1, 6)).map(lambda cuts: np.diff([0, *sorted(cuts), 7]).tolist())


@settings(max_examples=8, deadline=None, derandomize=True)
@given(frames=CUTS)
def test_chunks_of_any_length_equal_the_whole(model: SilkNetwork, wave: torch.Tensor, frames: list[int]) -> None:
    seven = torch.randint(0, 8, (1, 7, 128), generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        whole, chunked = (encode_in_chunks(model, wave, some) for some in ([7], frames))
        assert torch.allclose(chunked, whole, atol=1e-5, rtol=1e-5)
        assert torch.allclose(decode_in_chunks(model, seven, frames), model.decode(seven, 7 * FRAME), atol=1e-5)


def test_training_and_streaming_give_the_same_result(model: SilkNetwork, wave: torch.Tensor) -> None:
    """Compare `forward` on a crop with `encode` and `decode` on the same samples."""
    crop = wave[:, : 4 * FRAME + LOOKAHEAD]
    with torch.no_grad():
        reconstruction = model(crop)
    codes = model.encode(crop)[:, :4]
    assert torch.equal(reconstruction.codes, codes)
    assert torch.allclose(reconstruction.wave, model.decode(codes, 4 * FRAME), atol=1e-5)


def test_a_batch_is_its_clips(model: SilkNetwork) -> None:
    waves = torch.stack([torch.from_numpy(speechlike(1.6, seed)) for seed in range(3)])
    levels = model.encode(waves)
    decoded = model.decode(levels, waves.shape[1])
    for i in range(3):
        assert torch.equal(model.encode(waves[i : i + 1])[0], levels[i])
        assert torch.allclose(model.decode(levels[i : i + 1], waves.shape[1])[0], decoded[i], atol=1e-5)


def test_states_have_the_stated_shapes(model: SilkNetwork) -> None:
    states = fresh_states(model.encoder.state_shapes(), 2, CPU)
    spectrum, next_wave = model.encoder.log_mel(torch.zeros(2, FRAME), states[0])
    _, following = model.encoder(spectrum, states[1:])
    assert [s.shape for s in [next_wave, *following]] == [s.shape for s in states]
    assert next(iter(model.encoder.state_shapes().items())) == ("state_wave", (HISTORY + LOOKAHEAD,))
    states = fresh_states(model.decoder.state_shapes(), 2, CPU)
    _, following = model.decoder(torch.zeros(2, 1, 128), states)
    assert [s.shape for s in following] == [s.shape for s in states]


@pytest.mark.parametrize("n_samples", [1, FRAME - 1, FRAME, FRAME + 1])
def test_the_length_is_preserved(model: SilkNetwork, wave: torch.Tensor, n_samples: int) -> None:
    levels = model.encode(wave[:, :n_samples])
    assert levels.shape == (1, -(-n_samples // FRAME), 128) and levels.min() >= 0 and levels.max() <= 7
    assert model.decode(levels, n_samples).shape == (1, n_samples)


def test_gradients_reach_every_parameter(model: SilkNetwork, wave: torch.Tensor) -> None:
    """Check that gradients also pass through the rounding."""
    model.zero_grad()
    model(wave[:, : 3 * FRAME + LOOKAHEAD]).wave.square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert torch.count_nonzero(parameter.grad), name
    model.zero_grad(set_to_none=True)


def test_bfloat16_autocast_trains(wave: torch.Tensor) -> None:
    torch.manual_seed(1)
    network = SilkNetwork(TINY)
    with torch.autocast("cpu", torch.bfloat16):
        reconstruction = network(wave[:, : 2 * FRAME + LOOKAHEAD])
    assert reconstruction.wave.dtype == torch.float32
    reconstruction.wave.square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_shifted_products_equal_the_convolution() -> None:
    torch.manual_seed(2)
    block = ConvNeXtBlock(8, 2)
    seen = torch.randn(2, KERNEL - 1 + 20, 8)
    expected = block.depthwise(seen.transpose(1, 2)).transpose(1, 2)
    assert torch.allclose(block.filter(seen, 20), expected, atol=1e-6)


# --- the inverse STFT


class Spectrum(torch.nn.Module):
    """Return the input. This function replaces the projection of the head."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def head_of_spectra() -> InverseSTFTHead:
    head = InverseSTFTHead(4)
    head.project = Spectrum()
    return head


@pytest.fixture(scope="module")
def noisy_model() -> SilkNetwork:
    torch.manual_seed(4)
    return SilkNetwork(dataclasses.replace(TINY, noise=True)).eval()


def test_noise_depends_only_on_the_position(noisy_model: SilkNetwork) -> None:
    """Check that chunks of any length give the same samples, and that two streams in a batch get the same noise."""
    levels = torch.randint(0, 8, (2, 5, 128))
    levels[1] = levels[0]
    with torch.inference_mode():
        latent = noisy_model.quantizer.decode(levels)
        states = fresh_states(noisy_model.decoder.state_shapes(), 2, CPU)
        whole, last = noisy_model.decoder(latent, states)
        parts = []
        for begin, end in ((0, 1), (1, 4), (4, 5)):
            part, states = noisy_model.decoder(latent[:, begin:end], states)
            parts.append(part)
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-5)
    assert torch.equal(whole[0], whole[1])
    assert float(last[-1][0]) == 200 and torch.equal(last[-1], states[-1])


def test_versions_with_different_noise_equal_separate_passes(noisy_model: SilkNetwork, wave: torch.Tensor) -> None:
    positions = torch.tensor([[3.0], [5000.0]])
    crop = wave[:, : 2 * FRAME + LOOKAHEAD]
    with torch.no_grad():
        both = noisy_model(crop, positions).wave
        alone = [noisy_model(crop, position[None]).wave for position in positions]
    assert torch.equal(both, torch.cat(alone)) and not torch.equal(*both)


def test_noise_has_the_predicted_spectrum(noisy_model: SilkNetwork) -> None:
    """Check that a constant magnitude gives white noise, which differs between columns."""
    head = noisy_model.decoder.head
    x = torch.zeros(1, 400, TINY.conv_width)
    with torch.no_grad():
        level = head.noise_magnitude(x)
        index = head.noise_index(torch.tensor([[7900.0]]), 400)  # past the end of the table
        noise = torch.view_as_complex(head.noise_table[index])[0]
    assert torch.allclose(level, level[0, 0, 0].expand_as(level)) and float(level[0, 0, 0]) > 0
    assert float(noise.abs().square().mean()) == pytest.approx(1.0, abs=0.05)
    alike = noise @ noise.conj().T / noise.shape[1]
    assert float((alike - torch.diag(alike.diagonal())).abs().max()) < 0.35


def test_the_head_reconstructs_a_wave_from_its_stft() -> None:
    """Compare only from the third column, because the windows of the first two have no past."""
    wave = torch.from_numpy(speechlike(0.8, seed=4))
    n_columns = len(wave) // HOP - 2
    head = head_of_spectra()
    analysis = head.window * 9 / 8  # the window of the head is divided by the overlap
    windows = wave.unfold(0, WINDOW, HOP)[:n_columns] * analysis
    spectrum = torch.fft.rfft(windows)[None]
    x = torch.cat([spectrum.abs().clamp(min=1e-12).log(), spectrum.angle()], dim=-1)
    rebuilt, _ = head(x, torch.zeros(1, *head.state_shape))
    assert rebuilt.shape == (1, n_columns * HOP)
    inside = slice(2 * HOP, n_columns * HOP)
    assert torch.allclose(rebuilt[0, inside], wave[inside], atol=1e-5)


def test_the_matrix_product_equals_the_inverse_fft() -> None:
    from silkcodec_torch.train.export import inverse_dft

    real, imaginary = torch.randn(2, 5, BINS, generator=torch.Generator().manual_seed(3)).unbind(0)
    head = InverseSTFTHead(4)
    product = torch.cat([real, imaginary], dim=-1) @ inverse_dft()
    assert torch.allclose(product, head.inverse(real, imaginary), atol=1e-6)


def test_magnitudes_are_bounded() -> None:
    head = head_of_spectra()
    x = torch.cat([torch.full((1, 4, BINS), 100.0), torch.zeros(1, 4, BINS)], dim=-1)
    wave, _ = head(x, torch.zeros(1, *head.state_shape))
    assert torch.isfinite(wave).all()
