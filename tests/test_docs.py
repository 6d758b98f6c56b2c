"""Every command in the README and the docs is run here, or says above its fence what it needs or which test runs it.

<!-- needs a GPU -->                 not run by any test
<!-- run by tests/runs/test_stages.py --> run there
"""

import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
import yaml

from benchmarks.pair import PAGES, fill
from tests.conftest import ROOT
from tests.finished_run import write_report, write_run
from whisper_pair.audio.reading import read_audio
from whisper_pair.cli import COMMANDS, main
from whisper_pair.config.load import load_config
from whisper_pair.decoding.acceptance import TokenMatches, TokenRanks, accepted_per_round, accepted_per_tree
from whisper_pair.decoding.tree import DraftTree

FENCE = re.compile(r"(?:<!-- (needs [^>]+|run by [^>]+) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)


def fences(page: Path, language: str) -> list[tuple[str | None, str]]:
    """(what is above it, content)"""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [(mark or None, body) for mark, kind, body in found if kind == language]


def commands(body: str) -> list[str]:
    lines = body.replace("\\\n", " ").splitlines()
    return [line.partition(" #")[0].strip() for line in lines if line.strip() and line[0] != "#"]


@pytest.fixture(scope="module")
def place(demo_data, write_config, tmp_path_factory) -> Path:
    """What the docs' reader has by then: speech.wav, film.mkv, clips/ and a run in outputs/demo (untrained)."""
    folder = tmp_path_factory.mktemp("docs")
    config = write_config(folder / "demo.yaml", output="outputs/demo")
    write_run(folder / "outputs" / "demo", demo_data / "micro-whisper", config, max_length=8, main="outputs/demo/main")
    write_report(folder / "outputs" / "demo", failed=["agreement"])
    clips = [read_audio(file) for file in sorted((demo_data / "test").glob("*.wav"))[:3]]
    soundfile.write(folder / "speech.wav", clips[0], 16_000)
    (folder / "clips").mkdir()
    soundfile.write(folder / "clips" / "one.wav", clips[1], 16_000)
    soundfile.write(folder / "film.mkv", np.concatenate(clips), 16_000, format="WAV")  # a name is not a format
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_do_what_the_page_shows(page, place, monkeypatch):
    monkeypatch.chdir(place)
    for mark, body in fences(page, "bash"):
        if mark is None:
            for command in commands(body):
                program, *arguments = shlex.split(command)
                assert program == "whisper-pair", f"{page.name}: mark what runs, or needs: {command}"
                assert main(arguments) == 0, command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_another_test_runs_is_really_run_there(page):
    for mark, body in fences(page, "bash"):
        if mark and mark.startswith("run by "):
            runner = (ROOT / mark.removeprefix("run by ")).read_text(encoding="utf-8")
            for command in commands(body):
                words = [word for word in shlex.split(command) if word not in ("python", "whisper-pair", "-m")]
                assert words[0] in runner, f"{page.name}: {command}"
        if mark and mark.startswith("needs "):
            assert re.fullmatch(r"needs (the Hub|a GPU|PyPI)( and (the Hub|a GPU|PyPI))*", mark)
            for command in commands(body):
                if command.startswith("whisper-pair "):
                    assert command.split()[1] in COMMANDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_that_is_ours_runs(page, place, monkeypatch):
    monkeypatch.chdir(place)
    for mark, body in fences(page, "python"):
        if mark is None and ("whisper_pair" in body or "pipeline(" in body):
            exec(compile(body, str(page), "exec"), {})


OUTSIDE = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]  # which mkdocs does not read


@pytest.mark.parametrize("page", OUTSIDE, ids=lambda page: page.stem)
def test_links_of_pages_outside_the_site_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    gone = [link for link in links if "://" not in link and not (ROOT / link.partition("#")[0]).exists()]
    assert not gone


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_configs_that_are_shown_are_valid(page, tmp_path):
    for _, body in fences(page, "yaml"):
        shown = {"language": "nl", "model": "openai/whisper-tiny", "output": "out"} | yaml.safe_load(body)
        (tmp_path / "shown.yaml").write_text(yaml.safe_dump(shown))
        load_config(tmp_path / "shown.yaml")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tables_are_those_of_the_committed_results(page):
    text = page.read_text(encoding="utf-8")
    assert fill(text) == text


def test_the_drawn_rounds_are_those_of_the_replay():
    drawing = ElementTree.parse(ROOT / "docs" / "figures" / "rounds.svg").getroot()
    agrees = tuple(mark == "1" for mark in drawing.attrib["data-matches"].split())
    last = len(agrees) - 1
    match = TokenMatches(agrees, tuple(place == last for place in range(last + 1)), finished=True, limit=448)
    groups = [group.attrib for group in drawing.iter() if "data-drafts" in group.attrib]
    assert len(groups) == 2
    for group in groups:
        rounds = accepted_per_round(match, int(group["data-drafts"]))
        assert [accepted for _, accepted in rounds] == [int(count) for count in group["data-accepted"].split()]


def test_the_drawn_tree_wins_what_the_replay_gives():
    drawing = ElementTree.parse(ROOT / "docs" / "figures" / "tree.svg").getroot()
    tree = DraftTree.of_text(drawing.attrib["data-paths"])
    ranks = tuple(map(int, drawing.attrib["data-ranks"].split()))
    ((drafted, accepted),) = accepted_per_tree(TokenRanks(ranks, (99,) * len(ranks), False, len(ranks)), tree)
    assert (drafted, accepted) == (len(tree), int(drawing.attrib["data-accepted"]))


def test_every_command_of_the_program_is_shown_somewhere():
    shown = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in COMMANDS if f"whisper-pair {name}" not in shown and name != "synthesize"] == []
