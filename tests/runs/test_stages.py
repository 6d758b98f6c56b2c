"""The whole road, run as its user runs it: real processes, real checkpoints, on small synthetic speech."""

import json
from pathlib import Path

import pyarrow.parquet
import pytest
import torch
import yaml
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModelForCausalLM, AutoModelForSpeechSeq2Seq, AutoProcessor, GenerationConfig

from distill.label_filter import LabelFilter
from distill.labels import read_labels
from whisper_pair.audio.reading import read_audio
from whisper_pair.audio.sound import SAMPLE_RATE
from whisper_pair.checkpoints import Capabilities
from whisper_pair.config.load import load_config
from whisper_pair.text import Normalizer


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def road(tmp_path_factory, write_config, command):
    """A config and its output after `whisper-pair run`."""
    config = write_config(
        tmp_path_factory.mktemp("road") / "pair.yaml",
        tracker="tensorboard",
        train={"epochs": 12, "learning_rate": 3e-3},  # long enough for the main to end its sentences
        distill={"draft_vocabulary": 0.9},
    )
    done = command("-m", "whisper_pair.cli", "run", config)
    assert done.returncode == 0, done.stderr
    return config, config.parent / "output", done


@pytest.fixture(scope="module")
def before(demo_data) -> dict[str, torch.Tensor]:
    return weights(demo_data / "micro-whisper")


def test_a_run_leaves_what_the_design_promises(road):
    _, output, done = road
    assert "\nThis pair writes what its main writes" in done.stdout
    assert f"report: {output}/eval/report.html" in done.stdout
    for name in ("config.yaml", "main/config.json", "labels/labels.parquet", "assistant/pair.json", "eval/report.md",
                 "data.md", "data/main-window-tokens.png", "data/assistant-clip-seconds.png"):  # fmt: skip
        assert (output / name).is_file(), name
    for stage in ("main", "assistant"):
        provenance = json.loads((output / stage / "provenance.json").read_text())
        assert provenance["versions"]["torch"] == torch.__version__
        assert (output / stage / "history.json").is_file()
    assert "| clip | main |" in (output / "assistant" / "examples.md").read_text()
    assert not list(output.glob("*.partial"))
    assert yaml.safe_load((output / "config.yaml").read_text())["distill"]["losses"]["kl"] == 1.0


def test_the_decoder_learns_and_the_frozen_encoder_stays_bit_identical(road, before):
    after = weights(road[1] / "main")
    for name, tensor in before.items():
        same = torch.equal(tensor, after[name])
        assert same == name.startswith("model.encoder."), name


def test_the_assistant_learns_over_frozen_embeddings(road):
    main, assistant = weights(road[1] / "main"), weights(road[1] / "assistant")
    for part in ("embed_tokens", "embed_positions"):
        name = f"model.decoder.{part}.weight"
        assert torch.equal(main[name], assistant[name])
    assert not any(name.startswith("model.encoder.") for name in assistant)
    assert "model.decoder.layers.1.fc1.weight" not in assistant
    for name in ("fc1.weight", "self_attn.q_proj.weight", "encoder_attn.v_proj.weight"):
        name = f"model.decoder.layers.0.{name}"
        assert not torch.equal(main[name], assistant[name])


def test_spec_augment_and_autocast_leave_no_trace_in_what_is_saved(road, demo_data):
    stock = json.loads((demo_data / "micro-whisper" / "config.json").read_text())
    saved = json.loads((road[1] / "main" / "config.json").read_text())
    assert saved["apply_spec_augment"] is False
    assert saved["dtype"] == stock["dtype"] == "float32"


def test_every_window_has_a_label_by_the_main(road, demo_data):
    rows = pyarrow.parquet.read_table(road[1] / "labels" / "labels.parquet").to_pylist()
    clips = {clip for row in rows for clip in row["clips"]}
    assert len(clips) == len(list((demo_data / "train").glob("*.wav")))
    assert [row["window"] for row in rows] == list(range(len(rows)))
    assert all(row["tokens"] and row["human_text"] and row["mean_log_probability"] < 0 for row in rows)


def test_each_stage_is_a_run_of_the_tracker_with_its_figures(road):
    def tags(stage: str) -> dict[str, list[str]]:
        found = EventAccumulator(str(road[1] / "logs" / stage))
        found.Reload()
        return found.Tags()

    assert {folder.name for folder in (road[1] / "logs").iterdir()} == {"train", "distill", "eval"}
    each_step = {"loss", "gradient_norm", "learning_rate", "epoch", "windows_per_second", "tokens_per_second"}
    assert {*each_step, "validation_wer"} == set(tags("train")["scalars"])
    distilled = tags("distill")
    drafting = {"agreement", "tau_1", "tau_4", "predicted_speedup", "loss_cross_entropy", "loss_kl"}
    assert each_step | drafting <= set(distilled["scalars"])
    assert {"example-0", "example-1"} <= set(distilled["audio"])
    evaluated = {"wer_main", "wer_pair", "agreement", "tau", "speedup_batch_1_draft_auto", "verdict_passed"}
    assert evaluated <= set(tags("eval")["scalars"])


def test_main_and_assistant_say_what_they_were_trained_to_do(road):
    main, assistant = (Capabilities.load(road[1] / part) for part in ("main", "assistant"))
    assert 0 < main.timestamps < 1  # half of the windows, by chance
    for found in (main, assistant):
        assert found.previous_text == 0
        assert (found.tasks, found.languages) == (("transcribe",), ("nl",))
    rows = pyarrow.parquet.read_table(road[1] / "labels" / "labels.parquet").to_pylist()
    no_timestamps = GenerationConfig.from_pretrained(road[1] / "main").no_timestamps_token_id
    assert main.timestamps == sum(no_timestamps not in row["prefix"] for row in rows) / len(rows)
    normalizer = Normalizer.of("nl", AutoProcessor.from_pretrained(road[1] / "main").tokenizer)
    label_filter = LabelFilter(load_config(road[0]).distill, "nl", normalizer)
    folders = [road[1] / "labels", *(road[1] / "labels").glob("again-*")]
    kept = [row for folder in folders for row in read_labels(folder) if label_filter.sign(row) is None]
    assert assistant.timestamps == sum(no_timestamps not in row.prefix for row in kept) / len(kept)


def test_the_snippet_of_the_article_runs_on_what_we_save(road, demo_data):
    """With plain transformers and none of our code but the reading of a file."""
    main = AutoModelForSpeechSeq2Seq.from_pretrained(road[1] / "main")
    assistant = AutoModelForCausalLM.from_pretrained(road[1] / "assistant")
    processor = AutoProcessor.from_pretrained(road[1] / "main")
    speech = read_audio(sorted((demo_data / "test").glob("*.wav"))[0])
    inputs = processor(speech, sampling_rate=SAMPLE_RATE, return_tensors="pt")
    main.generation_config.begin_suppress_tokens = None  # transformers 5.23 forgets them where an assistant helps
    alone = main.generate(**inputs, language="nl", task="transcribe", max_new_tokens=20)
    paired = main.generate(**inputs, assistant_model=assistant, language="nl", task="transcribe", max_new_tokens=20)
    assert torch.equal(alone, paired)


def test_the_report_agrees_with_the_engines_own_counters(road):
    report = json.loads((road[1] / "eval" / "report.json").read_text())
    rows = pyarrow.parquet.read_table(road[1] / "eval" / "utterances.parquet").to_pylist()
    agreed = [agree for row in rows for agree in row["agrees"]]
    assert report["acceptance"]["agreement"] == pytest.approx(sum(agreed) / len(agreed))
    assert report["identity"] == {
        "utterances": 5, "identical": 5, "near_ties": 0, "unexplained": 0, "batch_1_against_8": None, "differences": [],
    }  # fmt: skip
    assert report["quality"]["pair"]["errors"] == report["quality"]["main"]["errors"]
    for row in report["acceptance"]["by_draft_tokens"]:
        assert row["mean_accepted_length"] == pytest.approx(1 + row["accepted"] / row["rounds"])
        assert row["acceptance_rate"] == pytest.approx(row["accepted"] / row["drafted"])
        assert len(row["position_joint"]) == row["draft_tokens"]
    kinds = {(row["engine"], row["mode"], row["batch_size"]) for row in report["speed"]["rows"]}
    assert {("pair", mode, batch) for mode in ("greedy", "speculative", "assistant") for batch in (1, 2)} < kinds
    assert ("transformers", "assisted", 1) in kinds
    assert all((road[1] / "eval" / "plots" / f"{name}.png").is_file() for name in ("acceptance", "speed"))


def test_what_the_smaller_head_gains_and_loses_is_reported(road):
    report = json.loads((road[1] / "eval" / "report.json").read_text())
    listed = json.loads((road[1] / "assistant" / "draft_vocabulary.json").read_text())
    assert 0 < len(listed["tokens"]) == report["pair"]["draft_vocabulary"]
    assert listed["covered"] >= 0.9
    whole = "ours, all tokens"
    rows = pyarrow.parquet.read_table(road[1] / "eval" / "utterances.parquet").to_pylist()
    tokens = [token for row in rows for token in row["tokens"]]
    missing = sum(token not in listed["tokens"] for token in tokens) / len(tokens)
    # lost are the main's tokens that are not listed; beside the others fewer compete
    assert report["acceptance"]["agreement"] >= report["compared"][whole]["agreement"] - missing - 1e-9
    drafting = [row["assistant"] for row in report["speed"]["rows"] if row["schedule"] == "auto"]
    assert drafting == ["ours", whole] * 2
    assert report["quality"]["pair"] == report["quality"][f"pair {whole}"]


def test_a_second_run_skips_what_is_done(road, command):
    config, output, _ = road
    touched = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.suffix in (".safetensors", ".json")}
    done = command("-m", "whisper_pair.cli", "run", config)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("already") == 3
    assert all(path.stat().st_mtime_ns == when for path, when in touched.items())


def test_results_of_other_settings_are_refused_until_overwritten(road, command):
    config, output, _ = road
    before = weights(output / "assistant")
    done = command("-m", "distill", config, "distill.learning_rate=1e-2")
    assert done.returncode == 2
    assert "distill.learning_rate = 0.0003, not 0.01" in done.stderr
    assert "--overwrite" in done.stderr
    assert "Traceback" not in done.stderr
    other = command("-m", "distill", config, "distill.learning_rate=1e-2", "--overwrite")
    assert other.returncode == 0, other.stderr
    after = weights(output / "assistant")
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert command("-m", "distill", config, "--overwrite").returncode == 0  # as it was, for other tests
    again = weights(output / "assistant")
    assert all(torch.equal(before[name], again[name]) for name in before)


def test_a_folder_that_is_not_a_run_is_refused(write_config, command, tmp_path):
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "thesis.txt").write_text("mine")
    done = command("-m", "train", write_config(tmp_path / "pair.yaml"))
    assert done.returncode == 2
    assert "holds files but no config.yaml" in done.stderr


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("language=xx", "language xx: is not one of"),
        ("data.train.0.text=words", "no column 'words'"),
        ("model=/nowhere", "there is no such folder"),
        ("model=" + 300 * "a", "there is no such folder"),  # longer than a file's name may be
        ("data.test.0.folder=/nowhere", "there is no such folder"),
        ("distill.layers=9", "distill.layers: the main has 8 decoder layers, not 9"),
    ],
)
def test_bad_input_gets_one_sentence(write_config, command, tmp_path, override, message):
    stage = "train" if override.split("=")[0] in ("language", "model", "data.train.0.text") else "distill"
    overrides = [override] if stage == "train" else [override, "train=null"]
    if "test" in override:
        stage = "eval"
    done = command("-m", stage, write_config(tmp_path / "pair.yaml"), *overrides)
    assert done.returncode == 2
    assert message in done.stderr or stage == "eval"
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().count("\n") == 0


@pytest.mark.parametrize("encoder", [False, True])
def test_lora_is_merged_into_a_stock_checkpoint(write_config, command, tmp_path, before, encoder):
    lora = {"parameters": "lora", "lora": {"rank": 4, "encoder": encoder}, "spec_augment": {}}
    done = command("-m", "train", write_config(tmp_path / "pair.yaml", train=lora))
    assert done.returncode == 0, done.stderr
    after = weights(tmp_path / "output" / "main")
    assert set(after) == set(before)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert all("layers" in name and name.endswith("weight") and "norm" not in name for name in moved)
    assert any(name.startswith("model.encoder.") for name in moved) == encoder
    assert any(name.startswith("model.decoder.") for name in moved)


def test_all_weights_can_be_trained_with_bf16_and_checkpointing(write_config, command, tmp_path, before):
    settings = {"parameters": "all", "precision": "bf16", "gradient_checkpointing": True, "accumulation": 2}
    done = command("-m", "train", write_config(tmp_path / "pair.yaml", train=settings))
    assert done.returncode == 0, done.stderr
    after = weights(tmp_path / "output" / "main")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("model.encoder.") for name in moved)
    assert torch.equal(before["model.encoder.embed_positions.weight"], after["model.encoder.embed_positions.weight"])


def test_what_is_kept_on_disk_changes_no_assistant(road, write_config, command, tmp_path):
    """Encoder states and the main's whole distribution, against computing both at every step."""
    _, output, _ = road
    settings = {"train": None, "model": str(output / "main")}
    config = write_config(tmp_path / "pair.yaml", distill={"cache": "all", "epochs": 2}, **settings)
    first = command("-m", "distill", config)
    assert first.returncode == 0, first.stderr
    assert "kept on disk: encoder states and the main's distribution" in first.stdout
    other = write_config(
        tmp_path / "other.yaml", **settings, distill={"cache": "none", "epochs": 2}, output=str(tmp_path / "other")
    )
    assert command("-m", "distill", other).returncode == 0
    one, two = weights(tmp_path / "output" / "assistant"), weights(tmp_path / "other" / "assistant")
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=1e-5, rtol=1e-4)


def test_two_processes_train_the_same_weights_as_one(road, write_config, command, tmp_path):
    """`accelerate launch` over gloo: same global batch, same weights to rounding; labels pooled over both."""
    launch = ["-m", "accelerate.commands.launch", "--config_file", "configs/accelerate/cpu.yaml"]
    start = {"train": None, "model": str(road[1] / "main")}  # a main that ends its sentences
    for stage, sections in (("train", {}), ("distill", start)):
        one = write_config(tmp_path / "one.yaml", **sections)
        two = write_config(tmp_path / "two.yaml", **sections, output=str(tmp_path / "two"))
        alone = command("-m", stage, one)
        both = command(*launch, "-m", stage, two, f"{stage}.batch_size=2")
        assert alone.returncode == both.returncode == 0, alone.stderr + both.stderr
    for name in ("main", "assistant"):
        one, two = weights(tmp_path / "output" / name), weights(tmp_path / "two" / name)
        for key in one:
            torch.testing.assert_close(one[key], two[key], atol=2e-4, rtol=1e-3)
