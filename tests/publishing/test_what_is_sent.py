"""What a release holds: known files of this run alone, of a pair that passed."""

import json
import shutil
from dataclasses import replace

import pytest
import yaml

from tests.finished_run import write_report
from tests.publishing.publishing import publish
from whisper_pair.checkpoints import CAPABILITIES_FILE, Capabilities
from whisper_pair.errors import InputError
from whisper_pair.publishing.release import release, run_config


def test_a_pair_that_failed_is_published_only_on_request(run, capsys):
    write_report(run, failed=["agreement"])
    try:
        with pytest.raises(InputError, match=r"the pair failed \(agreement\)"):
            release(run_config(str(run)), "me/pair", "two", False, whatever_the_verdict=False)
        assert publish(run, "--to", "me/pair", "--dry-run", "--whatever-the-verdict") == 0
        assert "It did not meet: share of the main's tokens that the assistant predicts." in capsys.readouterr().out
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{run}", "--to", "pair"], "form org/name"),
        (["{run}/eval", "--to", "me/pair"], "no config.yaml"),
        (["{gone}", "--to", "me/pair"], "cannot be read"),
    ],
)
def test_what_cannot_be_published_is_reported_in_one_sentence(run, tmp_path, capsys, arguments, message):
    assert publish(*(argument.format(run=run, gone=tmp_path / "gone.yaml") for argument in arguments)) == 2
    error = capsys.readouterr().err
    assert message in error
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


def test_a_checkpoint_that_is_a_link_to_elsewhere_is_not_sent(own):
    (own / "main").rename(own.parent / "someone")
    (own / "main").symlink_to(own.parent / "someone")
    with pytest.raises(InputError, match="is a link; put the folder itself"):
        release(run_config(str(own)), "me/pair", "two", False, False)


@pytest.mark.parametrize("content", ["[]", "{}", '{"pair": {"encoder_sha256": 1}}', '{"pair": null, "verdict": 3}'])
def test_a_report_that_is_none_makes_no_card(own, content):
    (own / "eval" / "report.json").write_text(content)
    with pytest.raises(InputError, match="is no report of this toolkit"):
        release(run_config(str(own)), "me/pair", "two", False, False)
