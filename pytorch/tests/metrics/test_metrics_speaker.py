"""Test speaker similarity: with every kind of model, a voice is closer to itself than to another voice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from repository import SAMPLES
from silkcodec import audio
from silkcodec.errors import ArgumentError, WeightsError
from silkcodec.evaluate.metrics import SAMPLE_RATE, Pair, find_metrics
from silkcodec_torch.metrics import speaker

torch = pytest.importorskip("torch", reason="needs ./pytorch")


def wave(name: str, half: int) -> np.ndarray:
    """Return one half of a sample, 2 s, float32 [48000]."""
    whole = audio.read(SAMPLES / f"{name}.flac", SAMPLE_RATE)
    return whole[:48_000] if half == 0 else whole[-48_000:]


@pytest.mark.skipif(speaker._packaged() is None, reason="needs resemblyzer's weights (requirements/metric-models.txt)")
def test_the_same_voice_is_closer_than_another() -> None:
    def cosine(a: tuple[str, int], b: tuple[str, int]) -> float:
        return speaker.speaker_similarity(Pair(wave(*a), wave(*b)), None)

    same = [cosine((name, 0), (name, 1)) for name in ("english", "mandarin", "arabic")]
    pairs = (("english", "mandarin"), ("mandarin", "arabic"), ("arabic", "english"))
    others = [cosine((a, 0), (b, 1)) for a, b in pairs]
    assert min(same) > max(others)


@pytest.fixture(scope="module")
def xvector(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write a folder like those on the Hub: WavLM for speaker verification, small and untrained."""
    transformers = pytest.importorskip("transformers", reason="needs ./pytorch[hf]")
    folder = tmp_path_factory.mktemp("xvector")
    torch.manual_seed(0)
    config = transformers.WavLMConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        tdnn_dim=(16, 16, 16, 16, 32),
        xvector_output_dim=24,
    )
    transformers.WavLMForXVector(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return str(folder)


@pytest.mark.slow
def test_a_transformers_network_is_loaded_from_its_folder(xvector: str) -> None:
    (metric,) = find_metrics(["speaker_similarity"], {"speaker": xvector})
    assert metric.missing() is None
    shared: dict[str, object] = {}
    assert metric(Pair(wave("english", 0), wave("english", 0), shared=shared)) == pytest.approx(1.0, abs=1e-5)
    assert metric(Pair(wave("english", 0), wave("mandarin", 0), shared=shared)) < 0.99999
    (embedding,) = [value for key, value in shared.items() if key.startswith("speaker")]
    assert np.linalg.norm(embedding) == pytest.approx(1.0, abs=1e-5)
    assert torch.get_num_threads() >= 1 and not torch.is_inference_mode_enabled()


def test_an_invalid_model_is_reported(tmp_path: Path) -> None:
    (metric,) = find_metrics(["speaker_similarity"], {"speaker": str(tmp_path / "none.pt")})
    with pytest.raises(ArgumentError, match="not found"):
        metric.require()
    broken = tmp_path / "pretrained.pt"
    torch.save({"other": torch.zeros(1)}, broken)
    with pytest.raises(WeightsError, match=r"pretrained\.pt"):
        speaker.speaker_similarity(Pair(wave("english", 0), wave("english", 1)), str(broken))


def test_without_a_model_the_message_states_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaker, "_packaged", lambda: None)
    (metric,) = find_metrics(["speaker_similarity"])
    assert "speaker=microsoft/wavlm-base-plus-sv" in (metric.missing() or "")
