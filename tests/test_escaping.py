"""Names and texts from elsewhere, in all that is shown to someone: pages, Markdown, terminals, plots, subtitles."""

import json
import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from distill.examples import DraftExample, table
from eval.reading.compare import compare
from eval.reading.document import pair_document
from eval.reading.page import page
from eval.reading.plots import figures, svg
from eval.reading.report import markdown as report_markdown
from tests.finished_run import write_report, write_run
from whisper_pair.cli import main
from whisper_pair.config.schema import Data
from whisper_pair.data.clips import Clip
from whisper_pair.data.corpus import Corpus
from whisper_pair.data.packing import pack
from whisper_pair.data.report import write_data_report
from whisper_pair.errors import InputError, StoppedError, TrainingError
from whisper_pair.escaping import cue, html, markdown, plot_label, srt, terminal, vtt
from whisper_pair.longform.recording import Segment, Transcription
from whisper_pair.longform.subtitles import as_srt, as_tsv, as_vtt
from whisper_pair.publishing.release import release, run_config

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "![x](https://evil.example/pixel.png)",
    "[click](https://evil.example)",
    "<https://evil.example>",
    "https://evil.example and www.evil.example",
    "# a heading",
    "- a list",
    "1. a list",
    "> a quotation",
    "a | b",
    "`code` *strong* _weak_ ~~gone~~",
    "\\",
    "$x^$ and $\\frac{$",
    "\x1b[2J\x1b]0;title\x07",
    "one\r\nerror: two\n\n## three",
    "\u202egnp.exe",
    "\u2028\u0085\x00\x7f\x9b",
    "\udce9.wav",
    "a\n\n9\n00:00:00,000 --> 00:00:09,000\nforged",
    "--> ---> {\\an8}",
)
LETTERS = "Ünïcödé 日本語 हिन्दी نیم‌فاصله 👩‍👩‍👧"  # with joiners that the scripts need
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
anything = st.sampled_from(HOSTILE) | st.text(max_size=30)
quick = settings(max_examples=100, deadline=None)
GFM = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def kinds(source: str) -> set[str]:
    """The elements of a Markdown text."""
    tokens = GFM.parse(source)
    return {token.type for token in [*tokens, *(child for token in tokens for child in token.children or ())]}


def targets(source: str) -> list[str]:
    """Where the links and pictures of a Markdown text lead."""
    inline = [child for token in GFM.parse(source) for child in token.children or ()]
    return [str(child.attrs.get("href") or child.attrs.get("src")) for child in inline
            if child.type in ("link_open", "image")]  # fmt: skip


def text_of(source: str) -> str:
    return "".join(c.content for token in GFM.parse(source) for c in token.children or ())


def no_markup(source: str, *more: str) -> None:
    assert kinds(source) <= {"paragraph_open", "inline", "text", "paragraph_close", "text_special", *more}, source
    assert not CONTROL.search(source)


@quick
@given(anything)
def test_a_terminal_gets_one_line_without_control(text):
    assert "\n" not in terminal(text)
    assert not CONTROL.search(terminal(text, lines=True))
    terminal(text).encode()


@quick
@given(anything)
def test_markdown_is_plain_text_wherever_it_is(text):
    no_markup(markdown(text))
    assert kinds(f"| a | b |\n| --- | --- |\n| {markdown(text)} | x |") >= {"table_open"}
    assert text_of(markdown(text)).split() == terminal(" ".join(text.split())).split()


@quick
@given(anything)
def test_html_is_text_that_reads_as_it_was(text):
    found = ElementTree.fromstring(f'<a title="{html(text)}">{html(text)}</a>')
    assert not list(found)
    assert (found.text or "") == terminal(text, lines=True)
    assert "\n" in text or found.get("title") == terminal(text, lines=True).replace("\t", " ")


@quick
@given(st.lists(anything, min_size=1, max_size=3))
def test_a_cue_has_no_blank_line_and_no_arrow(texts):
    for written in (srt(cue(texts)), vtt(cue(texts))):
        assert "\n\n" not in written
        assert written == written.strip("\n")
        assert "-->" not in written


def test_matplotlib_draws_what_it_is_given():
    from matplotlib.figure import Figure

    for text in HOSTILE:
        figure = Figure()
        figure.subplots().set_title(plot_label(text))
        assert "<script" not in svg(figure)


@pytest.mark.parametrize("escape", [terminal, html, markdown, plot_label, lambda text: cue([text])])
def test_letters_stay_as_they_are(escape):
    assert escape(LETTERS) == LETTERS


@pytest.mark.parametrize("text", HOSTILE)
def test_an_error_is_one_line_whatever_name_it_holds(text):
    for error in (InputError(text), TrainingError(text), StoppedError(text, 143)):
        assert "\n" not in str(error)
        assert not CONTROL.search(str(error))


# Every output


def spread(tree, texts):
    """The same tree with every free text in it replaced."""
    free = {"clip", "reference", "text", "main", "assistant", "before", "name", "cpu", "attention", "other"}
    if isinstance(tree, dict):
        return {k: next(texts) if k in free and isinstance(v, str) else spread(v, texts) for k, v in tree.items()}
    return [spread(part, texts) for part in tree] if isinstance(tree, list) else tree


@pytest.fixture
def report(judged):
    """A real report in which every name and text is hostile."""
    import itertools

    found = json.loads((judged / "eval" / "report.json").read_text())
    kept = {"verdict": found["verdict"], "identity": found["identity"]}
    rounds = [{"accepted": [text], "rejected": [text], "main": [text]} for text in HOSTILE]
    found = spread(found, itertools.cycle(HOSTILE)) | kept
    found["pair"] |= {"start": HOSTILE[2], "main": HOSTILE[15], "assistant": HOSTILE[0]}
    found["data"]["sources"] = list(HOSTILE)
    found["data"]["leaks"] |= {"compared": [HOSTILE[2]], "clips": list(HOSTILE)}
    found["timeline"] |= {"clip": HOSTILE[1], "rounds": rounds}
    for row in found["speed"]["rows"]:
        row["assistant"] = row["assistant"] and "x/" + HOSTILE[13]
    return found


def test_the_page_of_a_report(report, demo_data):
    clips = [Clip(row["clip"], sorted((demo_data / "test").glob("*.wav"))[0], 1.0, "x", None)
             for row in report["utterances"]]  # fmt: skip
    clips[0] = Clip(
        report["timeline"]["clip"], *[getattr(clips[0], n) for n in ("audio", "seconds", "text", "speaker")]
    )
    written = page(pair_document(report), clips)
    plain = page(pair_document(json.loads(json.dumps(report).replace("<", "("))), [
        Clip(clip.name.replace("<", "("), clip.audio, 1.0, "x", None) for clip in clips])  # fmt: skip
    elements = [Counter(re.findall(r"<(\w+)", text)) for text in (written, plain)]
    assert elements[0] == elements[1]  # no element came from a name
    assert not CONTROL.search(written)
    assert "&lt;script&gt;" in written


def test_the_markdown_of_a_report_and_of_a_comparison(report, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(report))
    compared = compare([str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    for written in (report_markdown(pair_document(report)), compared):
        assert not kinds(written) & {"html_inline", "html_block", "code_inline", "s_open"}
        assert all(target.startswith(("#", "plots/")) for target in targets(written))  # none came from a name
        assert not CONTROL.search(written)
    assert len(re.findall("^# ", report_markdown(pair_document(report)), re.MULTILINE)) == 1
    assert not any(
        "three" in line
        for line in report_markdown(pair_document(report)).splitlines()
        if line.startswith("#") and "error: two" not in line
    )


def test_the_plots_of_a_report(report):
    for figure in figures(report).values():
        assert "<script" not in svg(figure)


def test_what_a_stage_trains_on(tmp_path):
    clips = [Clip(f"{i}.wav", Path("none"), 3.0, HOSTILE[i // 2], "s") for i in range(2 * len(HOSTILE))]
    corpus = Corpus(clips, Counter(dict.fromkeys(HOSTILE, 1)), {text: [text] for text in HOSTILE})
    write_data_report(tmp_path, "main", corpus, pack(clips, Data((), (), ()), 30.0, 0), [5] * 3, 30.0)
    written = (tmp_path / "data.md").read_text()
    assert not kinds(written) & {"html_inline", "html_block", "code_inline", "s_open"}
    assert len(targets(written)) == 3
    assert all(target.startswith("data/main-") for target in targets(written))


def test_what_the_student_gets_wrong():
    class Tokenizer:
        added_tokens_decoder: dict = {}  # noqa: RUF012

        def decode(self, tokens, skip_special_tokens=False):
            return "".join(HOSTILE[token] for token in tokens)

    numbers = list(range(len(HOSTILE)))
    written = table([DraftExample(text, numbers, numbers[::-1]) for text in HOSTILE], Tokenizer())
    assert not kinds(written) & {"link_open", "image", "html_inline", "html_block", "code_inline"}
    assert len(written.splitlines()) == 2 + len(HOSTILE)


def test_a_models_card(demo_data, write_config, tmp_path):
    output = tmp_path / "output"
    config = write_config(tmp_path / "pair.yaml", output=str(output))
    write_run(output, demo_data / "micro-whisper", config, max_length=8)
    write_report(output, failed=list(HOSTILE))
    file = output / "eval" / "report.json"
    stored_report = json.loads(file.read_text())
    stored_report["environment"] |= {
        "dtype": HOSTILE[2],
        "attention": HOSTILE[3],
        "git_commit": HOSTILE[1],
        "date": HOSTILE[0],
    }
    stored_report["environment"]["hardware"] = {"cpu": HOSTILE[15]}
    stored_report["environment"]["versions"] = {"torch": HOSTILE[0]}
    file.write_text(json.dumps(stored_report))
    for repository in release(run_config(str(config)), "me/pair", "two", False, whatever_the_verdict=True):
        body = repository.files["README.md"].decode().split("---\n", 2)[2]
        assert not kinds(body) & {"image", "html_inline", "html_block", "s_open"}
        assert not any("evil.example" in target for target in targets(body))
        assert not CONTROL.search(body)


@pytest.mark.parametrize("text", HOSTILE)
def test_subtitles_of_any_text(text):
    transcribed = Transcription(text, "nl", 9.0, [Segment(0.0, 4.0, text, []), Segment(4.0, 9.0, text, [])], 1, 0, 0)
    for written in (as_srt(transcribed), as_vtt(transcribed)):
        blocks = written.removeprefix("WEBVTT\n\n").strip("\n").split("\n\n")
        assert all(len(re.findall(r"^\d\d:\d\d:\d\d[.,]\d{3} --> ", block, re.MULTILINE)) == 1 for block in blocks)
        assert written.count(" --> ") == len(blocks)
    assert len(as_tsv(transcribed).splitlines()) == 3


def test_transcribe_shows_a_terminal_no_name_that_could_steer_it(pair, demo_data, tmp_path, capsys):
    clip = sorted((demo_data / "test").glob("*.wav"))[0]
    named = tmp_path / "a\x1b[2J\nerror: no.wav"
    named.write_bytes(clip.read_bytes())
    broken = tmp_path / "b\x1b[2J\n.wav"
    broken.write_text("no audio")
    arguments = ["--main", str(pair[0]), "--language", "nl", "--no-timestamps"]
    assert main(["transcribe", str(named), str(broken), *arguments]) == 2
    message = capsys.readouterr()
    assert "\\x1b[2J\\nerror: no.wav:\n" in message.out
    assert "\x1b[2J" not in message.out + message.err
    assert "\\x1b[2J\\n.wav" in message.err
