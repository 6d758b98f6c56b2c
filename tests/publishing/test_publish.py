"""`whisper-pair publish` with the Hub's real client, against a Hub on the loopback."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import EvalResult, ModelCard

from tests.conftest import ROOT
from tests.finished_run import write_report, write_run
from tests.hub_server import TOKEN, Hub
from whisper_pair.audio.reading import read_audio
from whisper_pair.checkpoints import CAPABILITIES_FILE, Capabilities
from whisper_pair.checkpoints.identity import check_pair
from whisper_pair.checkpoints.locate_pair import locate_pair
from whisper_pair.cli import main
from whisper_pair.errors import InputError
from whisper_pair.publishing.release import release, run_config


@pytest.fixture(scope="module")
def run(material, write_config, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder / "output", material / "micro-whisper", write_config(folder / "pair.yaml"), max_length=16)
    settings = folder / "output" / "main" / "generation_config.json"
    told = json.loads(settings.read_text())
    vocabulary = json.loads((folder / "output" / "main" / "config.json").read_text())["vocab_size"]
    told["suppress_tokens"] = sorted({*told["suppress_tokens"], *range(told["eos_token_id"] + 1, vocabulary)})
    settings.write_text(json.dumps(told))  # an untrained main says nothing but timestamps else
    return folder / "output"


@contextlib.contextmanager
def connected(hub: Hub, monkeypatch, tmp_path):
    settings = {  # read from the environment when the client was first imported
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": hub.xet is None,
        "HF_HUB_CACHE": str(tmp_path / "cache"),
    }
    for name, value in settings.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield hub
    hub.close()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Takes large files by Git LFS, in one piece."""
    with connected(Hub(), monkeypatch, tmp_path) as hub:
        yield hub


def environment(hub: Hub, home: Path) -> dict[str, str]:
    xet = {"HF_HUB_DISABLE_XET": "1"} if hub.xet is None else {}
    ours = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(home), **xet}
    return {**os.environ, **ours, "HF_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"}


def publish(*arguments) -> int:
    return main(["publish", *map(str, arguments)])


def test_a_killed_upload_goes_on_where_it_was_and_a_repeated_one_changes_nothing(run, hub, tmp_path, capsys):
    hub.hang_at = 2  # the assistant's weights; the main's are there by then
    command = [sys.executable, "-m", "whisper_pair.cli", "publish", str(run), "--to", "me/pair"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(hub, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert hub.hangs.wait(120)
    process.kill()
    said = process.communicate()[0].decode()
    assert len(hub.repos["me/pair"].commits) == 2
    assert len(hub.repos["me/pair-assistant"].commits) == 1  # nothing of it is to be seen
    assert publish(run, "--to", "me/pair") == 0
    assert len(hub.puts) == 3  # the main's was not sent again
    assert len(hub.repos["me/pair"].commits) == len(hub.repos["me/pair-assistant"].commits) == 2
    assert publish(run, "--to", "me/pair") == 0
    assert len(hub.puts) == 3
    assert len(hub.repos["me/pair"].commits) == len(hub.repos["me/pair-assistant"].commits) == 2
    printed = capsys.readouterr()
    assert TOKEN not in said + printed.out + printed.err


def test_a_large_file_goes_in_parts_where_the_hub_asks_for_them(run, monkeypatch, tmp_path):
    with connected(Hub(part=100_000), monkeypatch, tmp_path) as hub:
        assert publish(run, "--to", "me/pair") == 0
        weights = (run / "main" / "model.safetensors").read_bytes()
        assert hub.repos["me/pair"].files["model.safetensors"] == weights
        assert len(hub.puts) > len(weights) // 100_000


@pytest.fixture
def xet_hub(monkeypatch, tmp_path):
    """Takes large files by Xet, as huggingface.co does."""
    with connected(Hub(xet=tmp_path / "storage"), monkeypatch, tmp_path) as hub:
        yield hub


def test_by_xet_a_repeated_upload_sends_and_changes_nothing(run, xet_hub, tmp_path, command):
    def stored():
        return {file: file.stat().st_mtime_ns for file in (tmp_path / "storage" / "xet" / "xorbs" / "xorbs").iterdir()}

    arguments = ["-m", "whisper_pair.cli", "publish", run, "--to", "me/pair"]
    assert command(*arguments, **environment(xet_hub, tmp_path / "one")).returncode == 0
    assert xet_hub.puts == []  # nothing went another way
    sent = stored()
    again = command(*arguments, **environment(xet_hub, tmp_path / "other"))  # a machine that knows nothing of the first
    assert again.returncode == 0, again.stderr
    assert stored() == sent
    assert len(xet_hub.repos["me/pair"].commits) == len(xet_hub.repos["me/pair-assistant"].commits) == 2
    assert TOKEN not in again.stdout + again.stderr


def test_a_hub_without_xet_and_one_out_of_reach_are_said_in_one_sentence(run, hub, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    assert publish(run, "--to", "me/pair") == 2
    assert "HF_HUB_DISABLE_XET=1" in capsys.readouterr().err
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert publish(run, "--to", "me/pair") == 2
    error = capsys.readouterr().err
    assert "give the same command again" in error
    assert "Traceback" not in error


def test_what_was_published_gives_stock_transformers_the_same_text_elsewhere(run, xet_hub, material, tmp_path, capsys):
    hub = xet_hub
    assert publish(run, "--to", "me/pair", "--standalone") == 0
    assert set(hub.repos) == {"me/pair", "me/pair-assistant", "me/pair-standalone"}
    clip = sorted((material / "test").glob("*.wav"))[0]
    script = f"""
import importlib.util, soundfile, sys
sys.meta_path = [finder for finder in sys.meta_path if "__editable__" not in type(finder).__module__ + repr(finder)]
sys.path = [place for place in sys.path if place != {str(ROOT)!r}]
assert importlib.util.find_spec("whisper_pair") is None  # another environment, without any of our code
from transformers import (AutoModelForCausalLM, AutoModelForSpeechSeq2Seq, AutoProcessor,
                          WhisperForConditionalGeneration)
main = AutoModelForSpeechSeq2Seq.from_pretrained("me/pair")
assistant = AutoModelForCausalLM.from_pretrained("me/pair-assistant")
alone = WhisperForConditionalGeneration.from_pretrained("me/pair-standalone")
processor = AutoProcessor.from_pretrained("me/pair")
samples, rate = soundfile.read({str(clip)!r}, dtype="float32")
inputs = processor(samples, sampling_rate=rate, return_tensors="pt")
for model, more in ((main, {{}}), (main, {{"assistant_model": assistant}}), (alone, {{}})):
    tokens = model.generate(**inputs, **more, language="nl", task="transcribe", max_new_tokens=8)
    print(repr(processor.batch_decode(tokens, skip_special_tokens=True)[0].strip()))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment(hub, tmp_path),
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    main_alone, assisted, standalone = done.stdout.splitlines()

    from whisper_pair import Pair

    pairs = (
        Pair.from_pretrained("me/pair"),
        Pair.from_pretrained("me/pair-assistant"),
        Pair.from_pretrained("me/pair", None),
    )
    for pair in pairs:
        heard = pair.transcribe([read_audio(clip)], language="nl", max_new_tokens=8, draft_tokens=3)[0].text
        assert repr(heard) == main_alone == assisted
    whole = Pair.from_pretrained(str(run / "standalone"), None)
    assert repr(whole.transcribe([read_audio(clip)], language="nl", max_new_tokens=8)[0].text) == standalone
    assert locate_pair("me/pair-assistant")[0] == locate_pair("me/pair")[0] == "me/pair"
    capsys.readouterr()
    assert main(["transcribe", str(clip), "--pair", "me/pair", "--language", "nl", "--no-timestamps"]) == 0
    said = capsys.readouterr().out.strip()
    assert said.startswith(main_alone.strip("'"))  # which was held to eight tokens
    assert main_alone != "''"


def test_a_main_without_an_assistant_of_its_own_is_no_pair(run, hub):
    assert publish(run, "--to", "me/pair") == 0
    assistant = hub.repos.pop("me/pair-assistant")
    with pytest.raises(InputError, match="me/pair-assistant was not found"):
        locate_pair("me/pair")
    lineage = json.loads(assistant.files["pair.json"]) | {"main": "me/another"}
    assistant.files["pair.json"] = json.dumps(lineage).encode()
    hub.repos["me/pair-assistant"] = assistant
    with pytest.raises(InputError, match="was made for me/another"):
        locate_pair("me/pair")


def test_one_repository_holds_both_where_that_is_wanted(run, hub):
    assert publish(run, "--to", "me/both", "--layout", "one", "--private") == 0
    assert hub.repos["me/both"].private
    files = set(hub.repos["me/both"].files)
    assert {"model.safetensors", "assistant/model.safetensors", "assistant/pair.json", "README.md"} <= files
    main_at, assistant_at = locate_pair("me/both")
    assert check_pair(Path(main_at), Path(assistant_at)).main == "me/both"


def test_shards_of_an_earlier_release_are_removed_in_the_same_commit(run, hub):
    assert publish(run, "--to", "me/pair") == 0
    hub.repos["me/pair"].files["model-00001-of-00002.safetensors"] = b"old"
    (run / "main" / "merges.txt").write_text("new")
    try:
        assert publish(run, "--to", "me/pair") == 0
    finally:
        (run / "main" / "merges.txt").unlink()
    assert "model-00001-of-00002.safetensors" not in hub.repos["me/pair"].files
    assert "merges.txt" in hub.repos["me/pair"].files
    assert len(hub.repos["me/pair"].commits) == 3


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


def test_the_code_on_the_cards_runs_as_pasted(run, hub, material, tmp_path):
    assert publish(run, "--to", "me/pair", "--standalone") == 0
    shutil.copy(sorted((material / "test").glob("*.wav"))[0], tmp_path / "speech.wav")
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


def test_a_pair_that_failed_is_published_only_when_told(run, capsys):
    write_report(run, failed=["agreement"])
    try:
        with pytest.raises(InputError, match=r"the pair failed \(agreement\)"):
            release(run_config(str(run)), "me/pair", "two", False, whatever_the_verdict=False)
        assert publish(run, "--to", "me/pair", "--dry-run", "--whatever-the-verdict") == 0
        assert "It did not reach: share of the main's tokens that the assistant predicts." in capsys.readouterr().out
    finally:
        write_report(run, failed=[])


def test_the_card_tells_where_the_pair_drafts_nothing_and_an_older_verdict_is_refused(run, capsys):
    file = run / "eval" / "report.json"
    report = json.loads(file.read_text())
    sixteen = next(c for c in report["verdict"]["criteria"] if c["name"] == "speedup_batch_16")
    try:
        sixteen["kept"] = True
        file.write_text(json.dumps(report))
        assert publish(run, "--to", "me/pair", "--dry-run") == 0
        said = " ".join(capsys.readouterr().out.split())
        assert "By these figures the pair earns its place. At batch 16 it drafts nothing, at no cost." in said
        del sixteen["kept"]
        file.write_text(json.dumps(report))
        with pytest.raises(InputError, match=r"an older version of this toolkit; whisper-pair eval CONFIG"):
            release(run_config(str(run)), "me/pair", "two", False, whatever_the_verdict=True)
    finally:
        write_report(run, failed=[])


def test_a_dry_run_writes_nothing_and_names_what_the_release_holds(run, capsys):
    shutil.rmtree(run / "standalone", ignore_errors=True)
    before = {path: path.stat().st_mtime_ns for path in [run, *run.rglob("*")]}
    assert publish(run, "--to", "me/pair", "--standalone", "--dry-run") == 0
    assert {path: path.stat().st_mtime_ns for path in [run, *run.rglob("*")]} == before
    assert "me/pair-standalone: " in capsys.readouterr().out
    config = run_config(str(run))
    rehearsed, real = (release(config, "me/pair", "two", True, False, dry_run) for dry_run in (True, False))
    assert [repository.name for repository in rehearsed] == [repository.name for repository in real]
    for one, other in zip(rehearsed, real, strict=True):
        assert set(one.files) == set(other.files)
        assert one.bytes == pytest.approx(other.bytes, rel=0.01)


def test_without_a_token_the_way_to_log_in_is_named(run, hub, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert publish(run, "--to", "me/pair") == 2
    said = capsys.readouterr().err
    assert "hf auth login" in said
    assert "hf_wrong" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{run}", "--to", "pair"], "form org/name"),
        (["{run}/eval", "--to", "me/pair"], "no config.yaml"),
        (["{gone}", "--to", "me/pair"], "cannot be read"),
    ],
)
def test_what_cannot_be_published_is_said_in_one_sentence(run, tmp_path, capsys, arguments, said):
    assert publish(*(argument.format(run=run, gone=tmp_path / "gone.yaml") for argument in arguments)) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_report_of_another_main_is_not_published(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    report = json.loads((copy / "eval" / "report.json").read_text())
    report["pair"]["encoder_sha256"] = "0" * 64
    (copy / "eval" / "report.json").write_text(json.dumps(report))
    settings = yaml.safe_load((copy / "config.yaml").read_text())
    (copy / "config.yaml").write_text(yaml.safe_dump(settings | {"output": str(copy)}))
    with pytest.raises(InputError, match="another main"):
        release(run_config(str(copy)), "me/pair", "two", False, False)


@pytest.fixture
def own(run, tmp_path) -> Path:
    """A copy of the run that a test may spoil."""
    copy = shutil.copytree(run, tmp_path / "copy")
    settings = yaml.safe_load((copy / "config.yaml").read_text())
    (copy / "config.yaml").write_text(yaml.safe_dump(settings | {"output": str(copy)}))
    return copy


def test_only_the_known_files_of_a_checkpoint_are_sent(own):
    for name in ("secret.txt", "credentials.json", "notes.md", "config.json.bak"):
        (own / "main" / name).write_text("secret")
        (own / "assistant" / name).write_text("secret")
    (own / "main" / "notes.txt").symlink_to("/etc/passwd")
    for repository in release(run_config(str(own)), "me/pair", "two", False, False):
        assert not any(word in path for path in repository.files for word in ("secret", "cred", "notes", "bak"))
        assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= set(repository.files)


def test_what_each_part_was_trained_to_do_is_published_with_it(own):
    trained = Capabilities(timestamps=0.5, previous_text=0.0, tasks=("transcribe",), languages=("nl",))
    trained.save(own / "main")
    replace(trained, timestamps=0.4).save(own / "assistant")
    main, assistant, standalone = release(run_config(str(own)), "me/pair", "two", True, False)
    shares = [
        json.loads(part.files[CAPABILITIES_FILE].read_text())["timestamps"] for part in (main, assistant, standalone)
    ]
    assert shares == [0.5, 0.4, 0.4]  # the standalone Whisper's decoder is the assistant's


@pytest.mark.parametrize("name", ["merges.txt", "special_tokens_map.json", "model-00001-of-00002.safetensors"])
@pytest.mark.parametrize("part", ["main", "assistant"])
def test_a_link_that_leads_out_of_a_checkpoint_is_not_sent(own, part, name):
    (own.parent / "secret").write_text("password")
    (own / part / name).symlink_to(own.parent / "secret")
    with pytest.raises(InputError, match="is a link that leads out"):
        release(run_config(str(own)), "me/pair", "two", False, False)


def test_a_checkpoint_that_lies_elsewhere_is_not_sent(own):
    (own / "main").rename(own.parent / "someone")
    (own / "main").symlink_to(own.parent / "someone")
    with pytest.raises(InputError, match="is a link; put the folder itself"):
        release(run_config(str(own)), "me/pair", "two", False, False)


@pytest.mark.parametrize("content", ["[]", "{}", '{"pair": {"encoder_sha256": 1}}', '{"pair": null, "verdict": 3}'])
def test_a_report_that_is_none_makes_no_card(own, content):
    (own / "eval" / "report.json").write_text(content)
    with pytest.raises(InputError, match="is no report of this toolkit"):
        release(run_config(str(own)), "me/pair", "two", False, False)
