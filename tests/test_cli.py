"""Commands answer at once, and a mistake in input is one sentence."""

import time

import pytest


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
