"""Test configs of runs: inheritance, checks of keys and values, overrides, writing and reading."""

from __future__ import annotations

from pathlib import Path

import pytest

from silkcodec.errors import ArgumentError
from silkcodec_torch.train import config as module
from silkcodec_torch.train.config import LOSSES, TrainConfig, dump_config, load_config, packaged

STAGE = '[[stage]]\nname = "all"\nsteps = 10\nlosses = { mel = 1 }\n'


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_packaged_configs_load() -> None:
    assert {"base", "tiny", "default"} <= set(packaged())
    for name in packaged():
        assert isinstance(load_config(name), TrainConfig)
    assert [stage.train_encoder for stage in load_config("base").stage] == [True, True, False]
    assert len(load_config("tiny").stage) == 3


def test_a_file_extends_another(tmp_path: Path) -> None:
    write(tmp_path / "mine.toml", 'extends = "tiny"\nseed = 5\n[optim]\nbatch_crops = 3\n')
    child = write(tmp_path / "child.toml", 'extends = "mine.toml"\n[optim]\nclip_norm = 2\n')
    config, tiny = load_config(child), load_config("tiny")
    assert config.seed == 5 and config.optim.batch_crops == 3 and config.optim.clip_norm == 2.0
    assert config.optim.precision == tiny.optim.precision and config.stage == tiny.stage
    assert isinstance(config.optim.clip_norm, float)


def test_a_name_is_a_packaged_config_and_a_path_is_a_file(tmp_path: Path) -> None:
    write(tmp_path / "base.toml", "seed = 77\n" + STAGE)
    assert load_config(write(tmp_path / "by_path.toml", 'extends = "base.toml"\n')).seed == 77
    assert load_config(write(tmp_path / "by_name.toml", 'extends = "base"\n')) == load_config("base")


def test_stages_are_replaced_as_a_whole(tmp_path: Path) -> None:
    config = load_config(write(tmp_path / "child.toml", 'extends = "base"\n' + STAGE))
    assert [stage.name for stage in config.stage] == ["all"] and config.stage[0].losses == {"mel": 1.0}


def test_overrides() -> None:
    config = load_config(
        "tiny",
        [
            "seed=9",
            "stage.0.steps=7",
            "stage.1.losses.mel=4",
            "data.folder=/some/where",
            'data.index="a b.tsv"',
            "optim.compile=true",
            "adversary.periods=[2, 3]",
        ],
    )
    assert config.seed == 9 and config.stage[0].steps == 7 and config.stage[1].losses["mel"] == 4.0
    assert config.data.folder == "/some/where" and config.data.index == "a b.tsv"
    assert config.optim.compile is True and config.adversary.periods == (2, 3)


def test_a_dumped_config_loads_as_the_same(tmp_path: Path) -> None:
    odd = 'a "b" \\ c:\\d\te\u00e9 \U0001f600 \x7f \n line'
    overrides = [f"data.folder={odd}", "optim.learning_rate=1e-5", "init=x", "log.checkpoint_minutes=0"]
    config = load_config("tiny", overrides)
    assert config.data.folder == odd
    assert load_config(write(tmp_path / "config.toml", dump_config(config))) == config
    assert "extends" not in dump_config(config)


BAD = {
    "unknown section": ("[optimm]\nclip_norm = 1\n", r"Unknown key 'optimm' in the top level .*optim"),
    "unknown key": ("[optim]\nclip_nrom = 1\n", r"'clip_nrom' in \[optim\]"),
    "wrong type": ("[optim]\nbatch_crops = 'many'\n", "optim.batch_crops must be of type int; got 'many'"),
    "float for int": ("[optim]\nbatch_crops = 1.5\n", "optim.batch_crops must be of type int"),
    "bool for int": ("seed = true\n", "seed must be of type int; got True"),
    "int for bool": ("[optim]\ncompile = 1\n", "optim.compile must be of type bool"),
    "text for a section": ("optim = 'fast'\n", "optim must be a table; got 'fast'"),
    "number for an array": ("[adversary]\nperiods = 2\n", "adversary.periods must be an array"),
    "text in an array": ("[adversary]\nperiods = ['2']\n", "adversary.periods.0 must be of type int"),
    "unknown optimizer": ("[optim]\noptimizer = 'sgd'\n", "muon or adamw; got 'sgd'"),
    "unknown precision": ("[optim]\nprecision = 'fp16'\n", "auto or bf16 or fp32; got 'fp16'"),
    "no crops": ("[optim]\nbatch_crops = 0\n", "optim.batch_crops must be at least 1; got 0"),
    "negative seed": ("seed = -1\n", "seed must be at least 0; got -1"),
    "share above 1": ("[data]\nnoise_share = 2\n", "data.noise_share must be between 0 and 1; got 2.0"),
    "heads that do not divide": ("[model]\nwidth = 30\nheads = 4\n", "model.width must be a multiple of 2"),
    "a segment longer than a crop": (
        "[adversary]\ncrop_s = 9\n",
        "or between 0.1 and 4 s, the length of a crop; got 9",
    ),
    "infinity": ("[optim]\nlearning_rate = inf\n", "optim.learning_rate must be a finite number; got inf"),
    "not a number": ("[data]\ngain_db = nan\n", "data.gain_db must be a finite number; got nan"),
    "negative learning rate": ("[adversary]\nlearning_rate = -1\n", "adversary.learning_rate must be at least 0"),
    "negative weight decay": ("[optim]\nweight_decay = -0.1\n", "optim.weight_decay must be at least 0; got -0.1"),
    "no floor": ("[model]\nmel_floor = 0\n", "model.mel_floor must be above 0; got 0.0"),
    "no channels": ("[adversary]\nwidth = 0\n", "adversary.width must be at least 1; got 0"),
    "a period of no samples": (
        "[adversary]\nperiods = [2, 0]\n",
        r"adversary.periods must be at least 1; got \[2, 0\]",
    ),
    "negative ramp": ("[adversary]\nramp_steps = -1\n", "adversary.ramp_steps must be at least 0; got -1"),
    "clips shorter than a frame": ("[log]\nvalidate_clip_s = 0.1\n", "log.validate_clip_s must be at least 0.4 s"),
    "no past": ("[model]\npast_frames = 0\n", "model.past_frames must be at least 1; got 0"),
    "not TOML": ("seed = = 1\n", "bad.toml' as TOML"),
    "not text": ("\x00", "as TOML"),
    "extends a number": ("extends = 3\n", "extends must be the name or path of a config; got 3"),
    "extends a missing file": ("extends = 'nowhere.toml'\n", "not found: '.*nowhere.toml'"),
    "extends an unknown name": ("extends = 'nowhere'\n", "not found: 'nowhere'"),
    "extends itself": ("extends = 'bad.toml'\n", "cannot extend itself"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_config_gives_one_sentence(case: str, tmp_path: Path) -> None:
    text, message = BAD[case]
    with pytest.raises(ArgumentError, match=message) as caught:
        load_config(write(tmp_path / "bad.toml", text if "extends" in text else text + STAGE))
    assert "\n" not in str(caught.value)


BAD_STAGES = {
    "no stage": ("", r"at least one \[\[stage\]\]"),
    "no losses": ("[[stage]]\nname = 'a'\nsteps = 1\n", r"\[stage.0\] must set losses"),
    "no length": ("[[stage]]\nname = 'a'\nlosses = { mel = 1 }\n", r"either steps to at least 1 or minutes to more"),
    "less than none": ("[[stage]]\nname = 'a'\nminutes = -1\nlosses = { mel = 1 }\n", r"stage.0 must set either steps"),
    "two lengths": ("[[stage]]\nname = 'a'\nsteps = 1\nminutes = 1\nlosses = { mel = 1 }\n", "must set either steps"),
    "unknown loss": (
        "[[stage]]\nname = 'a'\nsteps = 1\nlosses = { mle = 1 }\n",
        r"can contain only mel, .*; got \['mle'\]",
    ),
    "text weight": (
        "[[stage]]\nname = 'a'\nsteps = 1\nlosses = { mel = 'x' }\n",
        "losses.mel must be of type float; got 'x'",
    ),
    "nothing to learn": (
        "[[stage]]\nname = 'a'\nsteps = 1\nlosses = { mel = 0 }\n",
        "at least one weight other than 0",
    ),
    "negative learning rate": (
        "[[stage]]\nname = 'a'\nsteps = 1\nlosses = { mel = 1 }\nlearning_rate_scale = -1\n",
        "stage.0.learning_rate_scale must be at least 0; got -1.0",
    ),
    "no discriminators": (
        "[adversary]\nperiods = []\nfft_sizes = []\n[[stage]]\nname = 'a'\nsteps = 1\nlosses = { features = 1 }\n",
        "must not both be empty",
    ),
    "one table": ("[stage]\nname = 'a'\n", "stage must be an array"),
    "not a table": ("stage = [1]\n", "stage.0 must be a table; got 1"),
}


@pytest.mark.parametrize("case", BAD_STAGES)
def test_a_bad_stage_gives_one_sentence(case: str, tmp_path: Path) -> None:
    text, message = BAD_STAGES[case]
    with pytest.raises(ArgumentError, match=message):
        load_config(write(tmp_path / "bad.toml", text))


def test_circular_configs_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.toml", 'extends = "b.toml"\n')
    write(tmp_path / "b.toml", 'extends = "a.toml"\n')
    with pytest.raises(ArgumentError, match="cannot extend itself"):
        load_config(tmp_path / "a.toml")


@pytest.mark.parametrize("name", ["nosuch", "no/such.toml"])
def test_a_missing_config_lists_the_packaged_ones(name: str) -> None:
    with pytest.raises(ArgumentError, match=rf"not found: '{name}'. Pass .*tiny"):
        load_config(name)


def test_a_folder_is_not_a_config(tmp_path: Path) -> None:
    (tmp_path / "a.toml").mkdir()
    with pytest.raises(ArgumentError, match="Cannot read the config"):
        load_config(tmp_path / "a.toml")


@pytest.mark.parametrize(
    "override", ["seed", "stage.9.steps=1", "stage.x.steps=1", "stage.0=1", "data.folder.deep=1", "nosuch=1", "a.b=1"]
)
def test_a_bad_override_gives_one_sentence(override: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        load_config("tiny", [override])
    assert "\n" not in str(caught.value)


def test_the_names_of_losses_match_training() -> None:
    from silkcodec_torch.train import loop, losses

    assert set(LOSSES) == {*losses.NAMES, *loop.ADVERSARIAL, "recognizer", "speaker", "rate"}


def test_loading_a_config_does_not_need_torch() -> None:
    import subprocess
    import sys

    code = f"import sys; sys.modules['torch'] = None; import {module.__name__} as c; c.load_config('tiny')"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
