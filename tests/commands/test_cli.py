"""Commands answer at once, and a mistake in input is one sentence."""

import sys
import time
from pathlib import Path

import pytest

from whisper_pair.cli import main


@pytest.mark.parametrize("module", ["train", "distill", "eval", "whisper_pair.cli"])
def test_help_loads_nothing_heavy(command, module):
    probe = (
        f"import runpy, sys; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module({module!r}, run_name='__main__', alter_sys=False)\n"
        f"except SystemExit as end: assert not end.code\n"
        f"assert not {{'torch', 'transformers', 'datasets'}} & set(sys.modules), 'heavy'"
    )
    done = command("-c", probe)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout


@pytest.mark.parametrize("arguments", [["-m", "train"], ["-m", "whisper_pair.cli", "run"]])
def test_a_bad_config_is_answered_before_anything_heavy_loads(command, tmp_path, arguments):
    config = tmp_path / "pair.yaml"
    config.write_text("languag: nl\n")
    start = time.monotonic()
    done = command(*arguments, config)
    assert time.monotonic() - start < 20  # two seconds on an idle machine; loading torch takes longer than either
    assert done.returncode == 2
    assert done.stderr == "error: languag: unknown key; the nearest known one is language.\n"


def test_a_launcher_file_that_is_not_there_is_named(command, write_config, tmp_path):
    config = write_config(tmp_path / "pair.yaml")
    done = command("-m", "whisper_pair.cli", "run", config, "--launcher", "gone.yaml")
    assert done.returncode == 2
    assert "--launcher gone.yaml" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["transcribe", "gone.wav", "--pair", "x"],
        ["transcribe", "README.md"],
        ["publish", "gone.yaml", "--to", "me/pair"],
        ["init", "Elvish"],
        ["transcribe", "README.md", "--main", "x", "--language", "Elvish"],
        ["evaluate", "--main", "m", "--assistant", "a", "--data", ".", "--out", "o", "--language", "Elvish"],
    ],
)
def test_a_bad_argument_is_answered_before_anything_heavy_loads(command, arguments):
    probe = (
        f"import sys; from whisper_pair.cli import main; status = main({arguments!r})\n"
        f"assert not {{'torch', 'transformers', 'datasets', 'huggingface_hub'}} & set(sys.modules), 'heavy'\n"
        f"sys.exit(status)"
    )
    done = command("-c", probe)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")


@pytest.mark.parametrize("stage", ["train", "distill", "eval"])
def test_each_stage_is_a_command_of_its_own_with_settings_and_options_in_any_order(
    monkeypatch, write_config, tmp_path, stage
):
    commands = []
    monkeypatch.setattr("whisper_pair.commands.stage.status_of", lambda command: commands.append(command) or 7)
    config = str(write_config(tmp_path / "pair.yaml"))
    assert main([stage, config, "seed=1", "--overwrite", "seed=2", "--dry-run", "train.epochs=2"]) == 7
    given = [config, "seed=1", "seed=2", "train.epochs=2", "--overwrite", "--dry-run"]
    assert commands == [[sys.executable, "-m", f"whisper_pair.stages.{stage}", *given]]
    assert main([stage, "--dry-run", config, "seed=one"]) == 2
    if stage == "eval":
        assert main([stage, config, "--strict", "seed=3"]) == 7
        assert commands[-1][-2:] == ["seed=3", "--strict"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "x.yaml", "--dry-run", "--fast"],
        ["run", "x.yaml", "--dry-run", "seed"],
        ["doctor", "a=1"],
        ["transcribe", "a.wav", "--main", "x", "b=1.wav"],
    ],
)
def test_what_is_neither_an_option_nor_a_setting_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "unrecognized arguments" in capsys.readouterr().err


def test_a_stage_takes_settings_after_options_too(command, tmp_path):
    config = tmp_path / "pair.yaml"
    config.write_text("language: nl\n")
    done = command("-m", "whisper_pair.stages.train", config, "--dry-run", "model=x", "output=y")
    assert done.returncode == 2
    assert done.stderr.startswith("error: data: missing")


def test_the_version_is_printed_at_once(command):
    done = command("-c", "import sys; from whisper_pair.cli import main\ntry: main(['--version'])\n"
                   "finally: assert not {'torch', 'transformers'} & set(sys.modules)")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("whisper-pair ")
    assert len(done.stdout.splitlines()) == 1


def test_the_stages_of_a_checkout_are_its_own_whether_it_is_installed_or_not(command):
    done = command("-c", "import whisper_pair.stages.eval, train\n"
                   "print(whisper_pair.stages.eval.__file__, whisper_pair.__file__)")  # fmt: skip
    stage, package = map(Path, done.stdout.split())
    assert stage.parents[1] == package.parents[1]
