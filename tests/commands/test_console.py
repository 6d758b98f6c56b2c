"""What the library logs, and what a command shows of it."""

import logging
import subprocess
import sys
from io import StringIO

import pytest
import yaml

from tests.conftest import ROOT
from whisper_pair.commands.console import LOGGER, Console, show_messages

LIBRARY = logging.getLogger("whisper_pair.training.loop")


def test_information_goes_to_the_chosen_stream_and_warnings_to_stderr(capsys):
    show_messages("stdout")
    LIBRARY.info("step %d", 3)
    LIBRARY.warning("skipped: %s", "a.wav")
    LIBRARY.error("process 1: stopped")
    show_messages("stderr")
    LIBRARY.info("labels: 4 windows")
    out, err = capsys.readouterr()
    assert out == "step 3\n"
    assert err == "warning: skipped: a.wav\nerror: process 1: stopped\nlabels: 4 windows\n"


def test_a_second_call_replaces_the_first_one():
    show_messages()
    show_messages()
    assert sum(isinstance(handler, Console) for handler in LOGGER.handlers) == 1


def test_of_several_processes_the_first_one_informs_and_each_one_warns(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    show_messages("stdout")
    LIBRARY.info("step 3")
    LIBRARY.warning("skipped")
    assert tuple(capsys.readouterr()) == ("", "warning: skipped\n")


def test_a_name_in_a_message_cannot_forge_a_line(capsys):
    show_messages("stdout")
    LIBRARY.info("skipped: %s", "a\nerror: b\x1b[2J")
    assert capsys.readouterr().out == "skipped: a\\nerror: b\\x1b[2J\n"


def test_a_message_does_not_break_into_a_bar(capsys):
    from tqdm import tqdm

    show_messages("stdout")
    with tqdm(total=2, file=sys.stderr, ncols=40, mininterval=0) as bar:
        bar.update()
        LIBRARY.info("half")
        out, err = capsys.readouterr()
    assert out == "half\n"
    assert " 50%" in err
    assert "\r" + " " * 10 in err  # the bar's line is emptied before the message


def test_a_reader_that_has_gone_is_noticed_as_with_print(monkeypatch):
    class Closed(StringIO):
        def write(self, _):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    show_messages("stdout")
    with pytest.raises(BrokenPipeError):
        LIBRARY.info("step 3")


def test_a_python_caller_sees_warnings_and_can_silence_them():
    script = "import logging; {}logging.getLogger('whisper_pair.data').info('A'); "
    script += "logging.getLogger('whisper_pair.data').warning('B')"
    silence = "logging.getLogger('whisper_pair').setLevel(logging.ERROR); "

    def message(silenced: str) -> str:
        run = ["-c", "import whisper_pair; " + script.format(silenced)]
        return subprocess.run([sys.executable, *run], cwd=ROOT, capture_output=True, text=True, check=True).stderr

    assert message("") == "B\n"
    assert message(silence) == ""


def test_a_stage_says_what_it_does_and_repeats_no_noise_of_other_libraries(command, write_config, tmp_path):
    settings = {"gradient_checkpointing": True, "parameters": "all", "epochs": 2, "checkpoints": 1}
    config = write_config(tmp_path / "pair.yaml", train=settings, distill={"gradient_checkpointing": True})
    done = command("-m", "whisper_pair.stages.train", config)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("training: ")
    assert lines[-1] == f"{yaml.safe_load(config.read_text())['output']}/main: the fine-tuned main"
    bars = [line for line in done.stderr.replace("\r", "\n").splitlines() if line.strip()]
    assert all("training: " in line for line in bars), bars  # the one bar, and no word of anyone else
