"""FSDP2 over two real processes: the losses, validation and weights of one that shards nothing, a stop included."""

import json
import re
from pathlib import Path

import pytest
import torch
from accelerate.utils import DistributedType
from safetensors.torch import load_file

from benchmarks.scripted_main import MICRO, scripted_main
from train.model import choose_parameters, merged, stock
from whisper_pair.checkpoints.load import load_main
from whisper_pair.config.schema import Lora, Train
from whisper_pair.errors import InputError
from whisper_pair.training.sharding import gathered_weights, model_with_weights, refuse_other_sharding

HERE = Path(__file__).parent
FSDP2 = HERE.parents[1] / "configs" / "accelerate" / "fsdp2.yaml"


class Whole:
    """What sharding asks of accelerate where nothing is sharded."""

    is_fsdp2, distributed_type = False, DistributedType.NO


def curve(printed: str) -> list[list[float]]:
    """(loss, gradient norm) of each step"""
    return [[float(value) for value in line.split()] for line in re.findall(r"^curve (.+)$", printed, re.MULTILINE)]


@pytest.mark.parametrize(
    ("stage", "precision", "tolerance"), [("train", "fp32", 1e-4), ("train", "bf16", 2e-2), ("distill", "fp32", 1e-4)]
)
def test_two_sharded_processes_stopped_and_resumed_train_what_one_whole_process_trains(
    stage, precision, tolerance, write_config, command, tmp_path
):
    settings = {stage: {"evaluations": 2, "precision": precision}}
    if stage == "distill":
        scripted_main(tmp_path / "main", MICRO, words=5, dtype=torch.float32)
        settings |= {"train": None, "model": str(tmp_path / "main")}
    one = write_config(tmp_path / "one.yaml", output=str(tmp_path / "one"), **settings)
    two = write_config(tmp_path / "two.yaml", output=str(tmp_path / "two"), **settings)
    alone = command(HERE / "sharded.py", stage, one)
    assert alone.returncode == 0, alone.stderr
    launch = ["-m", "accelerate.commands.launch", "--config_file", FSDP2, "--num_processes", "2"]
    launch += ["--main_process_port", "0", HERE / "sharded.py", stage, two, f"{stage}.batch_size=2"]
    stopped = command(*launch, STOP_AT="4")
    assert "stopped by SIGTERM; saved" in stopped.stderr, stopped.stderr
    made = {"train": "main", "distill": "assistant"}[stage]
    assert list((tmp_path / "two" / f"{made}.partial" / "state-0000004").glob("optimizer_0/*.distcp"))
    resumed = command(*launch)
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming at step 4" in resumed.stdout

    whole, sharded = curve(alone.stdout), curve(stopped.stdout + resumed.stdout)
    assert len(whole) == 5
    torch.testing.assert_close(torch.tensor(sharded), torch.tensor(whole), rtol=tolerance, atol=tolerance / 10)
    records = [json.loads((tmp_path / name / made / "history.json").read_text()) for name in ("one", "two")]
    if precision == "fp32":
        figure = {"train": "validation_wer", "distill": "agreement"}[stage]
        assert records[0]["history"][-1][figure] == pytest.approx(records[1]["history"][-1][figure])
    weights = [load_file(tmp_path / name / made / "model.safetensors") for name in ("one", "two")]
    assert set(weights[0]) == set(weights[1])
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, atol=20 * tolerance / 10, rtol=10 * tolerance)


def test_adapters_are_folded_in_as_peft_itself_does(demo_data):
    """Beside the model that is trained, which keeps its adapters."""
    settings = Train(parameters="lora", lora=Lora(rank=4))
    model = choose_parameters(load_main(demo_data / "micro-whisper", torch.float32), settings)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    made = stock(model, settings, Whole())
    weights = merged(model, gathered_weights(model))
    for name, layer in model.named_modules():
        if hasattr(layer, "get_delta_weight"):
            wanted = layer.base_layer.weight + layer.get_delta_weight("default")
            assert torch.equal(weights[f"{name}.weight"], wanted)
    assert set(made.state_dict()) == set(load_main(demo_data / "micro-whisper", torch.float32).state_dict())
    assert made.proj_out.weight is made.model.decoder.embed_tokens.weight
    assert made.model.encoder.conv1.weight.data_ptr() == model.model.encoder.conv1.weight.data_ptr()  # shared


def test_a_model_around_given_weights_is_the_model(demo_data):
    main = load_main(demo_data / "micro-whisper", torch.float32)
    made = model_with_weights(main, gathered_weights(main))
    ids, features = torch.tensor([[1, 2, 3]]), torch.randn(1, 80, 400)
    with torch.no_grad():
        one, two = (model(input_features=features, decoder_input_ids=ids).logits for model in (main.eval(), made))
    assert torch.equal(one, two)
    assert made.generation_config is main.generation_config


@pytest.mark.parametrize(
    ("environment", "refused"),
    [
        ({"ACCELERATE_USE_FSDP": "true"}, "fsdp_version: expected 2, found 1"),
        ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1"}, "fsdp_version: expected 2, found 1"),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "DEEPSPEED is not supported"),
        ({"ACCELERATE_USE_MEGATRON_LM": "true"}, "MEGATRON_LM is not supported"),
    ],
)
def test_a_launcher_that_shards_in_another_way_is_refused(environment, refused):
    with pytest.raises(InputError, match=refused):
        refuse_other_sharding(environment)
    refuse_other_sharding({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"})


def test_two_sharded_processes_train_short_windows_as_one_whole_process_does(write_config, command, tmp_path):
    """The encoder too, whose short forward does not go through the encoder's own."""
    train = {"parameters": "all", "short_windows": {"share": 0.5, "margin": [0.2, 0.5]}, "precision": "fp32"}
    one, two = (
        write_config(tmp_path / f"{name}.yaml", output=str(tmp_path / name), train=train) for name in ("one", "two")
    )
    alone = command(HERE / "sharded.py", "train", one)
    assert alone.returncode == 0, alone.stderr
    launch = ["-m", "accelerate.commands.launch", "--config_file", FSDP2, "--num_processes", "2"]
    sharded = command(*launch, "--main_process_port", "0", HERE / "sharded.py", "train", two, "train.batch_size=2")
    assert sharded.returncode == 0, sharded.stderr
    whole = curve(alone.stdout)
    assert len(whole) > 2
    torch.testing.assert_close(torch.tensor(curve(sharded.stdout)), torch.tensor(whole), rtol=1e-4, atol=1e-5)
    figures = [
        json.loads((tmp_path / name / "main/history.json").read_text())["history"][-1] for name in ("one", "two")
    ]
    assert figures[0]["validation_wer_short"] == pytest.approx(figures[1]["validation_wer_short"])
