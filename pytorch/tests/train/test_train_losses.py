"""Test losses and discriminators in cases with known results."""

from __future__ import annotations

import math

import pytest
import soxr
import torch

from repository import SAMPLES
from silkcodec import audio
from silkcodec.mel import SAMPLE_RATE
from silkcodec_torch.nn.discriminators import Discriminators, adversarial_losses, discriminator_loss
from silkcodec_torch.train.losses import NAMES, SpectralLoss, limit_band
from speechlike import speechlike

N_SAMPLES = 19_200


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def speech() -> torch.Tensor:
    """Return speech, float32 [2, 0.8 s]."""
    return torch.stack([torch.from_numpy(speechlike(0.8, seed)) for seed in (1, 2)])


@pytest.fixture(scope="module")
def spectral() -> SpectralLoss:
    return SpectralLoss()


def noisy(wave: torch.Tensor, level: float) -> torch.Tensor:
    return wave + level * torch.randn(wave.shape, generator=torch.Generator().manual_seed(3))


def test_equal_waves_have_zero_loss(spectral: SpectralLoss, speech: torch.Tensor) -> None:
    losses = spectral(speech, speech)
    assert set(losses) == set(NAMES)
    for name, value in losses.items():
        assert value.shape == () and float(value) == pytest.approx(0, abs=1e-6), name


@pytest.mark.parametrize("name", NAMES)
def test_more_noise_has_a_higher_loss(spectral: SpectralLoss, speech: torch.Tensor, name: str) -> None:
    values = [float(spectral(noisy(speech, level), speech)[name]) for level in (0.0, 1e-3, 1e-2, 1e-1)]
    assert values == sorted(values) and values[0] < values[-1]


@pytest.mark.parametrize("name", NAMES)
def test_silence_is_worse_than_a_little_noise(spectral: SpectralLoss, speech: torch.Tensor, name: str) -> None:
    nothing = spectral(torch.zeros_like(speech), speech)[name]
    assert nothing > spectral(noisy(speech, 1e-3), speech)[name]


def test_the_sign_of_a_wave_does_not_matter(spectral: SpectralLoss, speech: torch.Tensor) -> None:
    for name, value in spectral(-speech, speech).items():
        assert float(value) == pytest.approx(0, abs=1e-5), name


def test_frequencies_above_the_bandwidth_do_not_count(spectral: SpectralLoss, speech: torch.Tensor) -> None:
    bandwidth = torch.tensor([5000.0, torch.inf])
    cycles = 9000 / SAMPLE_RATE * torch.arange(N_SAMPLES, dtype=torch.float64)
    tone = 0.1 * torch.sin(2 * math.pi * cycles).float()
    for n_draws in (1, 2):
        wave = noisy(speech, 1e-2).repeat(n_draws, 1)
        with_tone = limit_band(wave + tone, bandwidth)
        assert torch.equal(with_tone[1::2], (wave + tone)[1::2])  # no limit
        assert torch.allclose(with_tone[::2], limit_band(wave, bandwidth)[::2], atol=1e-6)
    target = limit_band(speech, bandwidth)
    clean, loud = (spectral(limit_band(x, bandwidth)[:1], target[:1]) for x in (speech, speech + tone))
    for name in NAMES:
        assert float(loud[name]) == pytest.approx(float(clean[name]), abs=1e-4), name


def test_the_loss_of_a_gain_in_closed_form(spectral: SpectralLoss) -> None:
    """Halve the level of loud noise: convergence is 1/2, and the logarithmic losses are ln 2."""
    loud = torch.randn(1, N_SAMPLES, generator=torch.Generator().manual_seed(4))
    losses = spectral(0.5 * loud, loud)
    assert float(losses["convergence"]) == pytest.approx(0.5, abs=1e-3)
    assert float(losses["mel"]) == pytest.approx(math.log(2), abs=0.02)
    assert float(losses["magnitude"]) == pytest.approx(math.log(2), abs=0.02)


def test_a_batch_is_the_mean_of_its_clips(spectral: SpectralLoss, speech: torch.Tensor) -> None:
    decoded = noisy(speech, 0.02)
    together = spectral(decoded, speech)
    apart = [spectral(decoded[i : i + 1], speech[i : i + 1]) for i in range(2)]
    for name in NAMES:
        assert float(together[name]) == pytest.approx(sum(float(one[name]) for one in apart) / 2, rel=1e-4), name


@pytest.mark.parametrize("case", ["both silent", "decoded silent", "target silent", "equal"])
def test_gradients_are_finite_at_silence_and_at_the_target(
    spectral: SpectralLoss, speech: torch.Tensor, case: str
) -> None:
    silence = torch.zeros_like(speech)
    decoded, target = {
        "both silent": (silence, silence),
        "decoded silent": (silence, speech),
        "target silent": (speech, silence),
        "equal": (speech, speech),
    }[case]
    decoded = decoded.clone().requires_grad_(True)
    sum(spectral(decoded, target).values()).backward()
    assert decoded.grad is not None and torch.isfinite(decoded.grad).all()


def test_the_compiled_losses_are_the_same(spectral: SpectralLoss, speech: torch.Tensor) -> None:
    decoded = [noisy(speech.repeat(2, 1), 0.02).requires_grad_(True) for _ in range(2)]
    target = speech.clone().requires_grad_(True)
    compiled = torch.compile(spectral, backend="aot_eager", dynamic=False)
    for wave, losses in zip(decoded, (spectral, compiled), strict=True):
        sum(losses(wave, target).values()).backward()
    assert decoded[0].grad is not None and torch.allclose(decoded[0].grad, decoded[1].grad, atol=1e-6)
    assert target.grad is None  # Originals get no gradient.


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_the_envelope_loss_is_one_minus_stoi(spectral: SpectralLoss, snr_db: float) -> None:
    """Compare both on speech without long pauses, which STOI removes."""
    pystoi = pytest.importorskip("pystoi", reason="needs [eval]")
    wave = torch.from_numpy(audio.read(SAMPLES / "english.flac", SAMPLE_RATE))[None]
    decoded = noisy(wave, float(wave.std()) * 10 ** (-snr_db / 20))
    expected = pystoi.stoi(wave[0].numpy(), decoded[0].numpy(), SAMPLE_RATE)
    missed = float(spectral(decoded, wave)["envelope"])
    assert 1 - missed == pytest.approx(expected, abs=0.02)
    assert float(spectral(3 * decoded, wave)["envelope"]) == pytest.approx(missed, abs=1e-4)  # the level has no effect


@pytest.mark.parametrize("name", ["english.flac", "mandarin.flac"])
@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0, 30.0])
def test_the_loudness_loss_is_the_loss_in_pesq(spectral: SpectralLoss, name: str, snr_db: float) -> None:
    """Compare both in raw points; `pesq` returns the score after the mapping of P.862.2."""
    pesq = pytest.importorskip("pesq", reason="needs [eval]")
    wave = torch.from_numpy(audio.read(SAMPLES / name, SAMPLE_RATE))[None]
    decoded = noisy(wave, float(wave.std()) * 10 ** (-snr_db / 20))
    mapped = pesq.pesq(16_000, *(soxr.resample(x[0].numpy(), SAMPLE_RATE, 16_000) for x in (wave, decoded)), "wb")
    raw = (3.8224 - math.log(4 / (mapped - 0.999) - 1)) / 1.3669
    lost = float(spectral(decoded, wave)["loudness"])
    assert 4.5 - lost == pytest.approx(raw, abs=0.6)
    assert float(spectral(0.1 * decoded, 0.1 * wave)["loudness"]) == pytest.approx(lost, abs=0.01)


def test_energy_distance_prefers_noise_of_the_right_spectrum_to_its_mean(spectral: SpectralLoss) -> None:
    """Check that a smooth spectrum has the lower loss with one draw, and noise with two draws."""
    torch.manual_seed(2)
    noise, first, second = 0.1 * torch.randn(3, 1, N_SAMPLES)
    smooth = torch.zeros(1, N_SAMPLES)
    smooth[:, ::240] = 0.1 * 240**0.5  # an impulse train with the same power and a smooth spectrum in short windows
    alike = spectral(torch.cat([first, second]), noise)
    same = spectral(torch.cat([smooth, smooth]), noise)
    for name in ("mel", "magnitude", "convergence"):
        assert float(alike[name]) < float(same[name]), name
    equal = spectral(torch.cat([noise, noise]), noise)
    assert all(abs(float(equal[name])) < 1e-6 for name in ("mel", "magnitude", "convergence"))


# --- the discriminators


@pytest.fixture(scope="module")
def discriminators() -> Discriminators:
    torch.manual_seed(0)
    return Discriminators((2, 5), (206, 542), width=4)


def test_every_discriminator_takes_any_length(discriminators: Discriminators, speech: torch.Tensor) -> None:
    for n_samples in (9600, 9601, N_SAMPLES):
        outputs = discriminators(speech[:, :n_samples])
        assert len(outputs) == 4
        for scores, maps in outputs:
            assert scores.shape[:2] == (2, 1) and scores[0].numel() > 1  # one channel, many positions
            assert len(maps) >= 4 and all(len(m) == 2 and torch.isfinite(m).all() for m in maps)
    period = discriminators(speech)[1][1][0]
    assert period.shape == (2, 4, -(-N_SAMPLES // 5 // 3), 5)  # [B, width, T / period / stride, period]
    bands = discriminators(speech)[2][1][::5]  # the first map of each band
    n_columns = N_SAMPLES // (206 // 4) + 1
    assert [tuple(band.shape) for band in bands] == [(2, 4, n_columns, bins) for bins in (10, 16, 26, 26, 26)]


def test_initial_scores_of_discriminators_differ() -> None:
    """Check the deviation of initial scores. With PyTorch's default initialization, it is only 0.003 to 0.011."""
    torch.manual_seed(1)
    fresh = Discriminators((2, 5), (512, 1024), width=8)
    with torch.no_grad():
        outputs = fresh(torch.randn(2, 9600))
    assert all(float(scores.std()) > 0.05 for scores, _ in outputs)


def test_hinge_losses_in_closed_form() -> None:
    def output(*scores: float) -> tuple[torch.Tensor, list[torch.Tensor]]:
        return torch.tensor(scores), [torch.ones(2)]

    real, fake = [output(2.0, 0.5), output(1.0)], [output(-2.0, 0.0), output(-1.0)]
    # First: mean(0, 0.5) + mean(0, 1); second: 0 + 0; mean over the two discriminators.
    assert float(discriminator_loss(real, fake)) == pytest.approx((0.25 + 0.5) / 2)
    # For the generator: the negated mean scores of the decoded waves, -1 and -1.
    assert float(adversarial_losses(real, fake)["adversarial"]) == pytest.approx(1.0)


def test_feature_matching_in_closed_form() -> None:
    scores = torch.zeros(1)
    real = [(scores, [torch.full((4,), 2.0), torch.full((3,), -4.0)])]
    fake = [(scores, [torch.full((4,), 3.0), torch.full((3,), -4.0)])]
    assert float(adversarial_losses(real, real)["features"]) == 0.0
    assert float(adversarial_losses(real, fake)["features"]) == pytest.approx((1 / 2 + 0) / 2)  # relative to |real|


def test_feature_matching_of_equal_waves_is_zero(discriminators: Discriminators, speech: torch.Tensor) -> None:
    with torch.no_grad():
        assert float(adversarial_losses(discriminators(speech), discriminators(speech))["features"]) == 0.0


def test_adversarial_gradients_reach_wave_and_discriminators(
    discriminators: Discriminators, speech: torch.Tensor
) -> None:
    fake = noisy(speech, 0.1).requires_grad_(True)
    losses = adversarial_losses(discriminators(speech), discriminators(fake))
    (losses["adversarial"] + losses["features"]).backward()
    assert fake.grad is not None and torch.isfinite(fake.grad).all() and torch.count_nonzero(fake.grad)

    discriminators.zero_grad()
    discriminator_loss(discriminators(speech), discriminators(fake.detach())).backward()
    for name, parameter in discriminators.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


def test_the_spectrum_stays_float32_under_autocast(discriminators: Discriminators, speech: torch.Tensor) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        outputs = discriminators(speech)
    assert all(torch.isfinite(scores).all() for scores, _ in outputs)
