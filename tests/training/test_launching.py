"""A step is the same step however its windows are spread: over micro-batches, over processes, over both."""

import json
import os
from pathlib import Path

import pytest
import torch
import yaml
from accelerate import Accelerator
from test_training import Numbers, Summed, train

from whisper_pair.config.load import load_config
from whisper_pair.config.schema import Train
from whisper_pair.errors import InputError
from whisper_pair.runs.launching import warn_of_one_process_alone
from whisper_pair.training.launch import make_accelerator
from whisper_pair.training.progress import Progress

HERE = Path(__file__).parent
LAUNCHERS = HERE.parents[1] / "configs" / "accelerate"


def test_two_processes_and_accumulation_give_the_curve_gradients_and_weights_of_one(command, tmp_path, monkeypatch):
    """Real processes, which talk through gloo."""

    def alone(batch_size: int, accumulation: int) -> dict:
        curve = []
        monkeypatch.setattr(Accelerator, "log", lambda self, values, step: curve.append({"step": step, **values}))
        weights, *_ = train(tmp_path / f"{batch_size}", batch_size=batch_size, accumulation=accumulation, epochs=2)
        return {"processes": 1, "weights": weights.tolist(), "curve": [entry for entry in curve if "loss" in entry]}

    def launched(batch_size: int, accumulation: int) -> dict:
        launch = ["-m", "accelerate.commands.launch", "--config_file", LAUNCHERS / "cpu.yaml"]
        program = [HERE / "launched.py", tmp_path / "two", batch_size, accumulation, 2]
        paths = os.pathsep.join([str(HERE.parents[1]), str(HERE)])
        done = command(*launch, "--main_process_port", "0", *program, PYTHONPATH=paths)
        assert done.returncode == 0, done.stderr
        return json.loads((tmp_path / "two" / "result.json").read_text())

    one, accumulated, two = alone(8, 1), alone(2, 4), launched(1, 4)
    assert two["processes"] == 2
    for other in (accumulated, two):
        assert len(other["curve"]) == len(one["curve"]) == 5
        for mine, its in zip(one["curve"], other["curve"], strict=True):
            assert its["loss"] == pytest.approx(mine["loss"], rel=1e-5)
            assert its["gradient_norm"] == pytest.approx(mine["gradient_norm"], rel=1e-4)
            assert its["learning_rate"] == mine["learning_rate"]
        assert other["weights"] == pytest.approx(one["weights"], rel=1e-5)


def test_only_what_is_trained_is_wrapped_and_has_optimizer_state(demo_data, tmp_path):
    """Stage 1 with a frozen encoder, stage 2 beside its teacher."""
    from distill.student import DistillationLoss, build_student
    from train.model import TranscriptLoss, choose_parameters
    from whisper_pair.checkpoints.load import load_main
    from whisper_pair.config.schema import Distill

    main = choose_parameters(load_main(demo_data / "micro-whisper", torch.float32), Train())
    encoder = {id(p) for p in main.model.encoder.parameters()}
    stages = [
        TranscriptLoss(main, Train()),
        DistillationLoss(build_student(main, (0,)), Distill()),
    ]
    taken = [{id(p) for p in stage.parameters()} for stage in stages]
    assert not any(encoder & wrapped for wrapped in taken)
    assert not {id(p) for p in main.parameters()} & taken[1]

    module = stages[1]
    trained = [p for p in module.parameters() if p.requires_grad]
    assert len(trained) < len(list(module.parameters()))  # the embeddings stay the main's
    accelerator = Accelerator(cpu=True)
    optimizer = torch.optim.AdamW(trained)
    module, optimizer = accelerator.prepare(module, optimizer)
    sum(p.sum() for p in trained).backward()
    optimizer.step()
    saved = Progress(tmp_path, 1).save(accelerator)
    moments = torch.load(saved / "optimizer.bin", weights_only=True)["state"]
    assert len(moments) == len(trained)


def test_a_launcher_with_another_accumulation_is_refused(monkeypatch, write_config, tmp_path):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "3")
    config = load_config(write_config(tmp_path / "pair.yaml"))
    with pytest.raises(InputError, match=r"train\.accumulation: expected the launcher's 3, found 1"):
        make_accelerator(config, config.train, "train")


def test_a_launch_that_starts_one_process_on_a_cpu_for_several_warns(caplog):
    """The environments are those that `accelerate launch` gave in accelerate 1.15."""
    alone = {"ACCELERATE_USE_CPU": "True", "ACCELERATE_MIXED_PRECISION": "no"}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    started = meeting | {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    for quiet in ({}, alone, started, started | {"ACCELERATE_USE_CPU": "true"}):
        warn_of_one_process_alone(quiet)
    assert not caplog.records
    warn_of_one_process_alone(alone | meeting)  # --num_processes 2 --cpu
    assert caplog.text.count("accelerate starts one process under --cpu") == 1


def test_several_nodes_share_one_file_and_one_address():
    tree = yaml.safe_load((LAUNCHERS / "several_nodes.yaml").read_text())
    assert tree["num_machines"] > 1
    assert tree["num_processes"] % tree["num_machines"] == 0
    assert {"main_process_ip", "main_process_port", "machine_rank", "rdzv_backend"} <= set(tree)


def test_the_toy_is_uneven_so_that_a_mean_of_means_would_show():
    counts = {Numbers().collate([sample]).tokens for sample in range(20)}
    assert len(counts) == 5
    assert sum(p.numel() for p in Summed().parameters()) == 3
