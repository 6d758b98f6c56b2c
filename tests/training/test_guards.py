"""What stops a run that has gone wrong, and what a rehearsal prints before it starts."""

import errno
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from test_training import Summed, train

from whisper_pair.checkpoints import Capabilities, ShortWindows, main_folder, weight_digests
from whisper_pair.commands.command_line import guarded
from whisper_pair.config import load_config
from whisper_pair.config.schema import Optimization
from whisper_pair.errors import InputError, TrainingError
from whisper_pair.runs import disk, rehearsal
from whisper_pair.training.instability import InstabilityGuard, largest_that_fits, out_of_memory
from whisper_pair.training.losses import SummedLoss
from whisper_pair.training.plan import Plan
from whisper_pair.training.probe import probe
from whisper_pair.training.short_steps import EqualSteps, ShortSteps


def checked(*norms: float, scaled: bool = False) -> None:
    guard = InstabilityGuard()
    for step, norm in enumerate(norms, start=1):
        guard.check(step, 1.0, norm, ["clip"], scaled)


def test_gradients_that_explode_step_after_step_end_training():
    calm = [1.0] * 30
    checked(*calm, 5000.0, 1.0, 5000.0, 1.0)  # a single one is clipped, and that is all
    with pytest.raises(TrainingError, match=r"above 1000 times its median for 5 steps \(5e\+03 at step 35, on clip\)"):
        checked(*calm, *[5000.0] * 5)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_gradient_that_is_no_number_ends_training_unless_fp16_skips_the_step(wrong):
    with pytest.raises(TrainingError, match="at step 2, on clip; lower the learning rate"):
        checked(1.0, wrong)
    checked(*[wrong] * 15, *[1.0] * 5, *[wrong] * 15, scaled=True)  # as the scaler finds its scale
    with pytest.raises(TrainingError, match="for 20 steps"):
        checked(*[wrong] * 20, scaled=True)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_training_under_any_precision(wrong):
    for scaled in (False, True):
        with pytest.raises(TrainingError, match=f"The loss became {wrong} at step 3, on clip; lower the learning rate"):
            InstabilityGuard().check(3, wrong, 1.0, ["clip"], scaled)


def test_weights_are_not_touched_by_a_gradient_that_is_no_number(tmp_path, monkeypatch):
    """The loss is sound, its gradient is not, as of the square root of 0."""
    monkeypatch.setattr(Summed, "forward", lambda self, x, y, mask: SummedLoss((self.weight - 1).abs().sqrt().sum()))
    with pytest.raises(TrainingError, match=r"The gradient became nan at step 1, on sample \d+"):
        train(tmp_path / "run")


def test_validations_that_get_no_better_end_training_and_the_best_is_kept(tmp_path, caplog):
    _, best, seen = train(tmp_path / "run", epochs=10, evaluations=10, patience=3)
    assert len(seen) == 5  # the second is best
    assert best.name == "best-0000010"
    assert "stopped early: 3 validations in a row were no better than that of step 10" in caplog.text
    _, again, _ = train(tmp_path / "run", epochs=10, evaluations=10, patience=3)  # from its last state
    assert again == best


class Hungry(Summed):
    """Runs out of memory over `room` rows."""

    room = 3

    def forward(self, x, y, mask):
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().forward(x, y, mask)


@pytest.mark.parametrize(
    ("room", "advice"),
    [(3, r"batch_size 8; 2 fits, and batch_size=2 with accumulation=4 goes on"), (0, "not even 1 fits")],
)
def test_out_of_memory_says_which_batch_would_fit_and_what_helps(tmp_path, monkeypatch, room, advice):
    monkeypatch.setattr("test_training.Summed", type("Hungry", (Hungry,), {"room": room}))
    with pytest.raises(TrainingError, match=advice) as raised:
        train(tmp_path / "run", batch_size=8)
    assert "gradient_checkpointing=true, precision=bf16" in str(raised.value)


@pytest.mark.parametrize(
    ("batch_size", "accumulation", "fits", "advice"),
    [(8, 1, 3, "batch_size=2 with accumulation=4"), (5, 2, 4, "batch_size=2 with accumulation=5"),
     (7, 1, 3, "batch_size=1 with accumulation=7")],
)  # fmt: skip
def test_the_advised_batch_makes_up_the_same_steps(batch_size, accumulation, fits, advice):
    assert f"{fits} fits, and {advice} goes on with" in str(out_of_memory(3, batch_size, accumulation, fits))


def test_a_step_of_short_windows_has_more_rows_and_the_batch_that_would_fit_is_of_full_ones(tmp_path, monkeypatch):
    monkeypatch.setattr("test_training.Summed", type("Hungry", (Hungry,), {"room": 6}))
    sixteen_rows = EqualSteps(frames=(50,) * 20, windows=8, full=100, seed=0)
    with pytest.raises(TrainingError, match=r"batch_size 8; 2 fits, and batch_size=2 with accumulation=4 goes on"):
        train(tmp_path / "run", batch_size=8, short=sixteen_rows)


def test_what_is_no_lack_of_memory_is_not_taken_for_it():
    def broken(_size):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        largest_that_fits(broken, 8)


def test_what_a_user_can_fix_is_one_sentence(capsys):
    def full():
        with open("/dev/full", "w") as file:
            file.write("x" * 100_000)

    assert guarded(full) == 1
    assert capsys.readouterr().err.startswith("error: the disk is full")

    def memory():
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried")

    assert guarded(memory) == 1
    assert capsys.readouterr().err.count("\n") == 1

    def interrupted():
        raise KeyboardInterrupt

    assert guarded(interrupted) == 130
    with pytest.raises(OSError, match="other"):
        guarded(lambda: (_ for _ in ()).throw(OSError(errno.EINVAL, "other")))
    with pytest.raises(KeyboardInterrupt):
        guarded(interrupted, debug=True)


def test_a_disk_that_is_too_small_is_reported_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    work = tmp_path / "run" / "main.partial"
    disk.require_disk(work, 10**9, "keep: 1")
    with pytest.raises(InputError, match=r"main needs about 5.0 GB more on disk, where 1.0 GB are free; .* keep: 1"):
        disk.require_disk(work, 5 * 10**9, "keep: 1")
    work.mkdir(parents=True)
    (work / "states").write_bytes(b"x" * 2_000_000)
    disk.require_disk(work, 10**9 + 2_000_000, "keep: 1")  # what is there need not be found again
    assert not list(tmp_path.glob("run/*.yaml"))


def test_disk_counts_weights_once_and_moments_for_what_is_trained():
    module = torch.nn.Sequential(torch.nn.Linear(10, 10, bias=False), torch.nn.Linear(10, 10, bias=False))
    module[0].requires_grad_(False)
    tied = torch.nn.ModuleList([module, module[1]])
    settings = Optimization(keep=1)
    assert disk.training_bytes(tied, module, torch.float32, settings) == 2 * (800 + 800) + 3 * 800


def test_a_rehearsal_prints_what_every_stage_takes_and_leaves_the_survey_alone(write_config, command, tmp_path):
    config = write_config(tmp_path / "pair.yaml", train={"epochs": 3}, distill={"cache": "states"})
    done = command("-m", "whisper_pair.cli", "run", config, "--dry-run")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if " of disk" in line]
    stages = ("train: 20 windows, 15 steps", "distill: 20 windows, 5 steps", "eval: 5 windows")
    for line, stage in zip(lines, stages, strict=True):
        assert line.startswith(stage), done.stdout
        assert "about" in line
        assert "hours" in line
    assert "AdamW, " in lines[0]  # memory by part
    assert [path.name for path in (tmp_path / "output").iterdir()] == ["data"]  # its survey of the audio serves the run


def test_before_the_main_is_trained_a_rehearsal_takes_it_for_what_training_will_make_it(write_config, tmp_path):
    path = write_config(tmp_path / "pair.yaml", train={"short_windows": {"share": 0.5, "margin": [0.2, 0.4]}})
    with rehearsal(load_config(path), "distill") as rehearsed:
        folder = main_folder(rehearsed)
        assert Capabilities.load(folder).short_windows == ShortWindows(0.5, 0.2, 0.4, 0.4)
        assert weight_digests(folder) == weight_digests(Path(load_config(path).model))
    assert not folder.exists()


def test_a_step_takes_the_time_of_each_kind_as_often_as_it_is_taken(monkeypatch):
    clock, taken = [0.0], []

    def take_step(accelerator, module, optimizer, settings, micro, *rest):
        taken.extend(micro)
        clock[0] += 8.0 if micro[0] == "full" else 2.0

    monkeypatch.setattr("whisper_pair.training.step.take_step", take_step)
    monkeypatch.setattr("whisper_pair.training.sharding.prepared", lambda _, module, optimizer: (module, optimizer))
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    batch = type("Kind", (str,), {"tokens": 1})
    batches = SimpleNamespace(
        load=lambda draw: draw, collate=lambda draws: batch("full" if draws[0].frames is None else "short")
    )
    short = ShortSteps(0.25, (0.1, 0.2), (10,) * 40, 8, 100, 40, 0)
    plan = replace(Plan(40, 8, 1, 1, 10.0, 0), short=short)
    accelerator = SimpleNamespace(process_index=0, num_processes=1)
    seconds = probe(accelerator, torch.nn.Linear(1, 1), Optimization(accumulation=1), batches, None, plan)
    count = short.before(plan.steps)
    assert 0 < count < plan.steps
    assert seconds == pytest.approx((8 * (plan.steps - count) + 2 * count) / plan.steps)
    assert sorted(set(taken)) == ["full", "short"]


def test_the_disk_that_training_takes_is_within_its_estimate(write_config, tmp_path, monkeypatch):
    from train import finetune
    from whisper_pair.config.load import load_config
    from whisper_pair.training import progress

    config = load_config(write_config(tmp_path / "pair.yaml", train={"checkpoints": 5, "evaluations": 5}))
    promised, used = [], []
    monkeypatch.setattr(finetune, "require_disk", lambda work, needed, *_: promised.append((work, needed)))
    rename = progress.discard

    def watched(folder):
        used.append(sum(file.stat().st_blocks * 512 for file in promised[0][0].rglob("*") if file.is_file()))
        rename(folder)

    monkeypatch.setattr(progress, "discard", watched)
    finetune.finetune(config)
    assert used
    assert 0.2 * promised[0][1] < max(used) <= 1.05 * promised[0][1]
    assert yaml.safe_load((tmp_path / "output" / "config.yaml").read_text())


def test_a_rehearsal_writes_into_no_folder_that_someone_laid_in_its_place(tmp_path, monkeypatch):
    from whisper_pair.runs.estimate import _vanishing

    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    (tmp_path / "someone").mkdir()
    (tmp_path / f"whisper-pair-rehearsal-{os.getppid()}").symlink_to("someone")
    with pytest.raises(InputError, match="is another user's"), _vanishing():
        pass
    assert (tmp_path / "someone").is_dir()
