"""Model cards: the report's figures, the metadata, the code to paste."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml
from huggingface_hub import EvalResult, ModelCard

from tests.conftest import ROOT
from tests.finished_run import write_report
from tests.publishing.publishing import environment, publish
from whisper_pair.checkpoints import Capabilities, ShortWindows
from whisper_pair.cli import main
from whisper_pair.errors import InputError
from whisper_pair.publishing.release import release, run_config


def test_a_card_has_the_reports_figures_and_no_path_of_this_machine(run):
    config = run_config(str(run))
    main_repository, assistant = release(config, "me/pair", "two", standalone=False, whatever_the_verdict=False)
    result = json.loads((ROOT / "benchmarks" / "results" / "demo.json").read_text())
    card = ModelCard(main_repository.files["README.md"].decode())  # raises where the metadata is not the Hub's
    (judged,) = card.data.eval_results
    assert isinstance(judged, EvalResult)
    assert (judged.metric_type, judged.dataset_type) == ("wer", "audiofolder")
    alike = ModelCard(assistant.files["README.md"].decode()).data.tags
    assert "whisper-pair:me/pair" in {*card.data.tags} & {*alike}
    metadata, body = card.data.to_dict(), card.text
    assert metadata["language"] == "nl"
    assert metadata["pipeline_tag"] == "automatic-speech-recognition"
    (found,) = metadata["model-index"][0]["results"]
    assert found["metrics"][0]["type"] == "wer"
    assert found["metrics"][0]["value"] == round(100 * result["quality"]["main"]["rate"], 2)
    for row in result["acceptance"]["by_draft_tokens"][:8]:
        (line,) = re.findall(rf"^\| pair \| {row['draft_tokens']} \|.*$", body, re.MULTILINE)
        assert line.endswith(f"| {row['mean_accepted_length']:.2f} |")
    assert body.index("tokens per round |") < body.index("## Use")  # on the first screen
    assert f"{100 * result['acceptance']['agreement']:.1f} %" in body
    assert yaml.safe_load(assistant.files["README.md"].decode().split("---\n")[1])["base_model"] == "me/pair"
    for repository in (main_repository, assistant):
        for path, file in repository.files.items():
            content = file if isinstance(file, bytes) else file.read_bytes()
            assert str(run.parent).encode() not in content, path
        assert "provenance.json" not in repository.files


def test_the_code_on_the_cards_runs_as_pasted(run, hub, demo_data, tmp_path):
    assert publish(run, "--to", "me/pair", "--standalone") == 0
    shutil.copy(sorted((demo_data / "test").glob("*.wav"))[0], tmp_path / "speech.wav")
    texts = {}
    for name in ("me/pair", "me/pair-assistant", "me/pair-standalone"):
        card = hub.repos[name].files["README.md"].decode()
        for number, code in enumerate(re.findall(r"```python\n(.*?)```", card, re.DOTALL)):
            done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
                                  env=environment(hub, tmp_path) | {"PYTHONPATH": str(ROOT)})  # fmt: skip
            assert done.returncode == 0, done.stderr
            texts[name, number] = done.stdout.strip()
    assert set(texts) == {("me/pair", 0), ("me/pair", 1), ("me/pair-assistant", 0), ("me/pair-assistant", 1),
                          ("me/pair-standalone", 0)}  # fmt: skip
    assert texts["me/pair", 0] == texts["me/pair", 1] != ""  # ours and transformers'
    commands = re.findall(r"^whisper-pair (.*)$", hub.repos["me/pair"].files["README.md"].decode(), re.MULTILINE)
    assert len(commands) == 1
    assert main([word.replace("speech.wav", str(tmp_path / "speech.wav")) for word in commands[0].split()]) == 0


def test_a_rate_on_one_of_the_hubs_sets_fills_its_leaderboard(run, tmp_path):
    from huggingface_hub import parse_eval_result_entries

    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings["data"]["test"] = [{"hub": "google/fleurs", "config": "nl_nl", "revision": "abc"}]
    (tmp_path / "pair.yaml").write_text(yaml.safe_dump(settings))
    files = release(run_config(str(tmp_path / "pair.yaml")), "me/pair", "two", False, False)[0].files
    (entry,) = parse_eval_result_entries(yaml.safe_load(files[".eval_results/fleurs.yaml"]))
    report = json.loads((run / "eval" / "report.json").read_text())
    assert (entry.dataset_id, entry.task_id, entry.dataset_revision) == ("google/fleurs", "nl_nl", "abc")
    assert entry.value == round(100 * report["quality"]["main"]["rate"], 2)
    assert "greedy decoding, after Whisper's basic text normalizer" in entry.notes
    assert "## Example" in files["README.md"].decode()  # a public clip


def test_a_test_clips_text_and_a_licence_are_published_only_when_known_to_be_free(run):
    config = run_config(str(run))
    card = release(config, "me/pair", "two", False, False)[0].files["README.md"].decode()
    assert "## Example" not in card
    assert ".eval_results" not in card
    assert "license" not in yaml.safe_load(card.split("---\n")[1])
    card = (
        release(config, "me/pair", "two", False, False, licence="cc-by-4.0", example=True)[0]
        .files["README.md"]
        .decode()
    )
    assert "- reference: Een zin." in card
    assert yaml.safe_load(card.split("---\n")[1])["license"] == "cc-by-4.0"


def test_hub_corpora_and_base_models_stand_in_the_metadata(run, tmp_path):
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings["data"]["train"] = [{"hub": "google/fleurs", "config": "nl_nl", "text": "transcription"}]
    settings["model"] = "openai/whisper-tiny"
    (tmp_path / "pair.yaml").write_text(yaml.safe_dump(settings))
    card = release(run_config(str(tmp_path / "pair.yaml")), "me/pair", "two", False, False)[0].files["README.md"]
    metadata = yaml.safe_load(card.decode().split("---\n")[1])
    assert metadata["datasets"] == ["google/fleurs"]
    assert metadata["base_model"] == "openai/whisper-tiny"
    assert metadata["license"] == "apache-2.0"
    assert "nl_nl / train, CC BY 4.0" in card.decode()


def test_a_rate_over_several_test_sets_is_named_for_none_of_them(run, tmp_path):
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings["data"]["test"] = [{"hub": "google/fleurs", "config": "nl_nl"}, {"folder": "clips"}]
    (tmp_path / "pair.yaml").write_text(yaml.safe_dump(settings))
    card = release(run_config(str(tmp_path / "pair.yaml")), "me/pair", "two", False, False)[0].files["README.md"]
    (judged,) = ModelCard(card.decode()).data.eval_results
    assert (judged.dataset_type, judged.dataset_name) == ("mixed", "google/fleurs nl_nl + held-out clips")


def test_the_card_names_batch_sizes_without_drafts_and_an_older_verdict_is_refused(run, capsys):
    file = run / "eval" / "report.json"
    report = json.loads(file.read_text())
    sixteen = next(c for c in report["verdict"]["criteria"] if c["name"] == "speedup_batch_16")
    try:
        sixteen["kept"] = True
        file.write_text(json.dumps(report))
        assert publish(run, "--to", "me/pair", "--dry-run") == 0
        message = " ".join(capsys.readouterr().out.split())
        assert "By these figures the pair is worth using. At batch 16 it drafts nothing, at no cost." in message
        del sixteen["kept"]
        file.write_text(json.dumps(report))
        with pytest.raises(InputError, match=r"an older version of this toolkit; whisper-pair eval CONFIG"):
            release(run_config(str(run)), "me/pair", "two", False, whatever_the_verdict=True)
    finally:
        write_report(run, failed=[])


def test_the_cards_say_which_short_windows_were_trained_and_how_others_take_them(run, tmp_path):
    config = run_config(str(shutil.copytree(run, tmp_path / "run")))
    main_folder = tmp_path / "run" / "main"
    config = replace(config, output=str(tmp_path / "run"))

    def card(part: str = "main") -> str:
        parts = release(config, "me/pair", "two", True, whatever_the_verdict=False, dry_run=True)
        return dict(zip(("main", "assistant", "standalone"), parts, strict=True))[part].files["README.md"].decode()

    assert "Short windows" not in card()
    trained = Capabilities(0.0, 0.0, ("transcribe",), ("nl",), ShortWindows(0.8, 0.3, 2.0, 1.0))
    trained.save(main_folder)
    (main_folder / "history.json").unlink(missing_ok=True)
    assert "80.0 % of the steps" in card()
    assert "`--audio-ctx 300` for audio of up to 5 s" in card()
    figures = {"step": 8, "loss": 1.0, "validation_wer": 0.371, "validation_wer_short": 0.366}
    (main_folder / "history.json").write_text(json.dumps({"best_step": 8, "history": [figures]}))
    assert "WER on the validation clips: 37.1 % in full windows, 36.6 % in short ones." in card()
    for part in ("assistant", "standalone"):  # neither's training, nor its errors
        text = card(part)
        assert "The main" in text[text.index("## Short windows") :]
        assert "of the steps" not in text
        assert "37.1 %" not in text
        assert ("--audio-ctx" in text) == (part == "standalone")  # a decoder alone has no windows
    (main_folder / "history.json").write_text("{}")
    with pytest.raises(InputError, match=r"history\.json: is no record of a training on short windows"):
        card()
