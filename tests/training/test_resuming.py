"""Killed at any moment, a run goes on to the weights of one that was left alone, bit for bit."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from test_training import StoppedError, train
from torch import nn

from whisper_pair.config.load import load_config
from whisper_pair.config.schema import Config, Data, Source
from whisper_pair.errors import InputError
from whisper_pair.runs.files import write_json
from whisper_pair.runs.stages import Stage
from whisper_pair.training.batches import AudioBatch, FrozenEncoder
from whisper_pair.training.encoder_cache import EncoderCache


def states(folder) -> list[str]:
    return sorted(path.name for path in folder.glob("state-*"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Weights after a run that nobody disturbed: 15 steps, states at 3, 6, 9 and 12, validations at 5, 10 and 15."""
    return train(tmp_path_factory.mktemp("whole") / "run")[0]


@pytest.fixture
def stopped(tmp_path):
    """A run that was stopped after its 14th step."""
    with pytest.raises(StoppedError):
        train(tmp_path / "run", stop_at=14)
    return tmp_path / "run"


def test_only_the_newest_states_stay_and_the_best_that_they_count_on(stopped):
    assert states(stopped) == ["state-0000009", "state-0000012"]
    assert sorted(path.name for path in stopped.glob("best-*")) == ["best-0000005", "best-0000010"]


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.bin", "random_states_0.pkl", "progress.json"])
@pytest.mark.parametrize("harm", ["cut", "changed", "gone"])
def test_a_damaged_state_is_passed_over_for_the_one_before(stopped, whole, caplog, file, harm):
    victim = stopped / "state-0000012" / file
    content = bytearray(victim.read_bytes())
    if harm == "gone":
        victim.unlink()
    elif harm == "cut":
        victim.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 1
        victim.write_bytes(content if file != "progress.json" else b"\xff" + content)
    resumed, *_ = train(stopped)
    messages = caplog.text
    assert "state-0000012: is passed over, since" in messages
    assert "resuming at step 9" in messages
    assert torch.equal(resumed, whole)


def test_without_a_sound_state_training_starts_again_and_prints_why(stopped, whole, caplog):
    for state in stopped.glob("state-*"):
        (state / "optimizer.bin").write_bytes(b"")
    resumed, *_ = train(stopped)
    messages = caplog.text
    assert messages.count("is passed over, since optimizer.bin is damaged") == 2
    assert "resuming" not in messages
    assert torch.equal(resumed, whole)


def test_a_state_without_its_best_checkpoint_is_passed_over(stopped, whole, caplog):
    shutil.rmtree(stopped / "best-0000010")
    resumed, best, _ = train(stopped)
    messages = caplog.text
    assert "state-0000012: is passed over, since its best checkpoint best-0000010 is gone" in messages
    assert "resuming at step 9" in messages
    assert torch.equal(resumed, whole)
    assert best.is_dir()


@pytest.mark.parametrize("moment", ["weights", "digests", "name", "rotation"])
def test_a_save_that_is_cut_off_costs_nothing_that_was_saved_before(tmp_path, whole, monkeypatch, moment):
    from accelerate import Accelerator

    from whisper_pair.training import progress

    where = {
        "weights": (Accelerator, "save_state"),
        "digests": (progress, "write_json"),
        "name": (progress, "_to_disk"),
        "rotation": (progress.Progress, "_rotate"),
    }[moment]
    original, calls = getattr(*where), 0

    def cut(*arguments, **more):
        nonlocal calls
        calls += 1
        if calls > 3:
            raise StoppedError
        return original(*arguments, **more)

    monkeypatch.setattr(*where, cut)
    with pytest.raises(StoppedError):
        train(tmp_path / "run")
    monkeypatch.undo()
    resumed, best, _ = train(tmp_path / "run")
    assert torch.equal(resumed, whole)
    assert best.is_dir()
    assert not list((tmp_path / "run").glob("*.partial"))


def test_a_step_of_another_size_is_refused_since_it_would_meet_other_data(stopped):
    with pytest.raises(InputError, match=r"with 4 windows a step, not 8; go on with .* = 4"):
        train(stopped, batch_size=8)


def test_the_same_step_in_smaller_pieces_goes_on(stopped, whole):
    resumed, *_ = train(stopped, batch_size=1, accumulation=4)
    torch.testing.assert_close(resumed, whole, rtol=1e-5, atol=1e-6)


def test_a_state_is_saved_after_the_minutes_that_a_kill_may_cost(tmp_path):
    with pytest.raises(StoppedError):
        train(tmp_path / "run", stop_at=8, checkpoints=0, save_minutes=1e-9)
    assert states(tmp_path / "run") == ["state-0000007", "state-0000008"]


# Real processes, real signals


@pytest.fixture
def begin(write_config, tmp_path):
    """Starts a stage's own process on a config that saves at each of its steps."""

    def start(name: str, **sections) -> subprocess.Popen:
        train = {"epochs": 3, "checkpoints": 100, "parameters": "lora", "lora": {"rank": 2, "dropout": 0.1}}
        config = write_config(tmp_path / f"{name}.yaml", output=str(tmp_path / name), train=train, **sections)
        return subprocess.Popen(
            [sys.executable, "-m", "train", str(config)],
            env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return start


def reached(output, process, steps: int) -> None:
    """Waits until a state of that many steps is there."""
    for _ in range(1200):
        if any(int(p.name[6:]) >= steps for p in output.glob("main.partial/state-" + "[0-9]" * 7)) or process.poll():
            return
        time.sleep(0.05)


def test_a_terminated_run_saves_exits_with_143_and_goes_on_bit_for_bit(begin, tmp_path):
    """With dropout, so that the random states count, and killed once more without warning on the way. Two runs of one
    seed that were left alone are then equal all the more."""
    alone = begin("alone")
    assert alone.wait() == 0, alone.stderr.read()
    first = begin("run")
    reached(tmp_path / "run", first, 2)
    first.send_signal(signal.SIGTERM)
    messages = first.communicate()[1]
    assert first.returncode == 143, messages
    assert "stopped by SIGTERM; saved" in messages
    assert "Traceback" not in messages
    second = begin("run")
    time.sleep(random.uniform(0, 8))
    second.kill()
    second.wait()
    last = begin("run")
    assert last.wait() == 0, last.stderr.read()
    for file in ("model.safetensors", "config.json", "generation_config.json"):
        assert (tmp_path / "run/main" / file).read_bytes() == (tmp_path / "alone/main" / file).read_bytes()
    one, two = (json.loads((tmp_path / name / "main/history.json").read_text()) for name in ("run", "alone"))
    assert one == two


def test_the_record_beside_results_names_what_would_not_repeat():
    from whisper_pair.runs.provenance import determinism

    assert determinism("cpu")["same_seed_same_weights"]
    on_gpu = determinism("cuda:0")
    assert not on_gpu["same_seed_same_weights"]
    assert any("atomic" in kind for kind in on_gpu["varies"])
    torch.use_deterministic_algorithms(True)
    try:
        enforced = determinism("cuda:0")
    finally:
        torch.use_deterministic_algorithms(False)
    assert enforced["deterministic_algorithms"]
    assert len(enforced["varies"]) < len(on_gpu["varies"])


# A stage's folder


@pytest.fixture
def config(tmp_path) -> Config:
    source = (Source(folder="speech"),)
    return Config("nl", "model", str(tmp_path / "run"), Data(source, source, source))


def made(config: Config, tmp_path) -> Stage:
    """A stage with finished work, over older results of other inputs."""
    (tmp_path / "run" / "main").mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_text("")
    write_json(tmp_path / "run" / "main" / "inputs.json", {"seed": 1})
    stage = Stage(tmp_path / "run" / "main", {"seed": 2})
    stage.begin(config)
    best = stage.work / "best-0000003"
    best.mkdir()
    (best / "weights").write_text("new")
    return stage


def test_results_are_whole_wherever_finishing_is_cut_off(config, tmp_path, monkeypatch):
    """Every call that changes the disk is in turn the last one."""
    import pathlib

    from whisper_pair.runs import stages as runs

    def run(cut_after: int | None) -> tuple[Stage, int]:
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        stage, calls = made(config, tmp_path), 0

        def counted(original):
            def call(*arguments, **more):
                nonlocal calls
                calls += 1
                if cut_after is not None and calls > cut_after:
                    raise StoppedError
                return original(*arguments, **more)

            return call

        with monkeypatch.context() as patch:
            for owner, name in ((pathlib.Path, "rename"), (pathlib.Path, "replace"), (runs.shutil, "rmtree")):
                patch.setattr(owner, name, counted(getattr(owner, name)))
            try:
                stage.finish(stage.work / "best-0000003")
            except StoppedError:
                assert cut_after is not None
        return stage, calls

    _, total = run(None)
    assert total > 4
    for cut_after in range(total):
        stage, _ = run(cut_after)
        stage.refuse_other_inputs(overwrite=False)  # whatever is left is ours
        if not stage.finished():
            stage.begin(config)
            stage.finish(stage.work / "best-0000003")
        stage.tidy()
        assert (stage.folder / "weights").read_text() == "new"
        assert sorted(path.name for path in stage.folder.parent.iterdir()) == ["config.yaml", "main"]


def test_a_run_that_was_killed_in_its_first_moment_is_still_known_as_ours(config, tmp_path):
    output = tmp_path / "run"
    stage = Stage(output / "main", {"seed": 2})
    output.mkdir()
    for leftover in (".lock", "config.yaml.partial", "main.partial/inputs.json.partial"):
        (output / leftover).parent.mkdir(exist_ok=True)
        (output / leftover).write_text("{")
        if "/" in leftover:
            (output / "config.yaml").write_text("")
        stage.refuse_other_inputs(overwrite=False)
    stage.begin(config)


def test_memory_and_saving_do_not_decide_an_outcome_but_the_step_does(write_config, tmp_path):
    from whisper_pair.training.plan import deciding_settings

    def inputs(*overrides):
        config = load_config(write_config(tmp_path / "pair.yaml"), overrides)
        return deciding_settings(config.resolved()["train"])

    assert inputs() == inputs("train.batch_size=2", "train.accumulation=2", "train.keep=9", "train.checkpoints=7")
    assert inputs() != inputs("train.batch_size=2")
    distill = load_config(write_config(tmp_path / "pair.yaml")).resolved()["distill"]
    assert deciding_settings(distill) == deciding_settings(distill | {"cache": "all"})
    assert deciding_settings(distill) != deciding_settings(distill | {"cache_dtype": "fp32"})
    assert deciding_settings(distill) != deciding_settings(distill | {"teacher_tokens": 32})
    assert inputs() != inputs("train.learning_rate=1e-5")


def test_two_runs_may_share_a_cache_of_encoder_states(tmp_path):
    script = (
        "import sys, torch\nfrom pathlib import Path\nfrom whisper_pair.training.encoder_cache import EncoderCache\n"
        "cache = EncoderCache(Path(sys.argv[1]), 50, 30, 8)\n"
        "for i in range(50):\n"
        "    n = i if sys.argv[2] == 'up' else 49 - i\n"
        "    if n not in cache: cache.write(n, torch.full((30, 8), float(n)))\n"
        "    assert (cache.read(n) == n).all()\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), way]) for way in ("up", "down")]
    assert [process.wait() for process in both] == [0, 0]


def test_encoder_states_are_the_same_in_the_first_epoch_and_when_they_are_read(tmp_path):
    """Else a step that is taken again after a kill would see other states than the first time."""
    cache = EncoderCache(tmp_path, windows=2, frames=4, width=3)
    encoder = nn.Module()
    encoder.conv1 = nn.Conv1d(4, 4, 1)
    encoder.forward = lambda mel: SimpleNamespace(last_hidden_state=mel.clone())
    encoding = FrozenEncoder(encoder, lambda waves: waves, None, cache)
    audio = AudioBatch.to_encode(torch.randn(2, 4, 3), [0, 1])
    met = encoding.states(audio, "cpu")
    assert not torch.equal(met, audio.waves)
    assert torch.equal(met, torch.stack([cache.read(0), cache.read(1)]).float())


def test_the_weights_of_a_state_are_safetensors_and_hold_what_is_trained(stopped):
    assert set(load_file(stopped / "state-0000012" / "model.safetensors")) == {"weight"}


def test_a_terminated_run_passes_the_signal_on_to_its_stage_and_exits_with_143(write_config, tmp_path):
    config = write_config(tmp_path / "pair.yaml", train={"epochs": 200, "checkpoints": 1000})
    run = subprocess.Popen([sys.executable, "-m", "whisper_pair.cli", "run", str(config)], stderr=subprocess.PIPE,
                           env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True)  # fmt: skip
    reached(tmp_path / "output", run, 1)
    run.terminate()
    messages = run.communicate()[1]
    assert run.returncode == 143, messages
    assert "stopped by SIGTERM; saved" in messages
    assert "Traceback" not in messages
