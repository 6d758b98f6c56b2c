"""Whatever is given, a mistake or an attack is one sentence: InputError, never a traceback, never code that runs."""

import io
import json
import os
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzzing import DEEP, quick, refused, trees, words
from whisper_pair.audio.reading import audio_seconds, read_audio
from whisper_pair.audio.sound import SAMPLE_RATE
from whisper_pair.config.load import load_config
from whisper_pair.config.schema import Data, Source
from whisper_pair.data.corpus import load_test_clips, load_training_clips
from whisper_pair.report.schema import read_report

# Configs

KEYS = ["language", "model", "output", "data", "train", "distill", "eval", "seed", "tracker", "data.train.0.folder"]
GOOD = (
    "{language: nl, model: m, output: o, data: {train: [{folder: a}], validation: [{folder: b}], test: [{folder: c}]}}"
)


@quick
@given(st.binary(max_size=300))
def test_a_config_of_any_bytes(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(content)
    assert refused(lambda: load_config(path))


@quick
@given(st.sampled_from(KEYS), trees, words)
def test_a_config_with_any_value_anywhere(tmp_path_factory, key, value, name):
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    tree = yaml.safe_load(GOOD)
    node, *rest = [tree, *key.split(".")]
    for part in rest[:-1]:
        node = node[int(part) if part.isdigit() else part]
    node[rest[-1]] = value
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    refused(lambda: load_config(path, [f"{key}={name}", f"{name}=1"]))


@pytest.mark.parametrize(
    "content",
    [DEEP, "!!python/object/apply:os.system ['touch broken']", "a: &a [*a]", "? [1]\n: 2", "\0", "a: 1e999", "&a [*a]"],
)
def test_hostile_configs_are_refused(tmp_path, content):
    path = tmp_path / "pair.yaml"
    path.write_text(content)
    assert refused(lambda: load_config(path))
    assert not (tmp_path / "broken").exists()
    assert not Path("broken").exists()


ALIASES = {  # a few hundred bytes that stand for 10^10 parts
    "lists": "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10 if i else ['x'] * 10)}]\n" for i in range(11)),
    "merges": "m0: &m0 {k: 1}\n"
    + "".join(f"m{i}: &m{i} {{<<: [{','.join([f'*m{i - 1}'] * 10)}]}}\n" for i in range(1, 11)),
    "a chain": "c0: &c0 [x]\n" + "".join(f"c{i}: &c{i} [*c{i - 1}]\n" for i in range(1, 2_000)),
}


@pytest.mark.parametrize("kind", ALIASES)
def test_aliases_that_stand_for_more_than_any_config_are_not_written_out(tmp_path, kind):
    (tmp_path / "pair.yaml").write_text(ALIASES[kind])
    assert "its aliases stand for more than" in refused(lambda: load_config(tmp_path / "pair.yaml"))
    override = "eval.draft_tokens=" + "{" + ALIASES[kind].replace("\n", ",") + "}"
    (tmp_path / "pair.yaml").write_text(GOOD)
    assert refused(lambda: load_config(tmp_path / "pair.yaml", [override]))


def test_aliases_of_an_ordinary_config_are_read_and_an_endless_one_is_not(tmp_path):
    (tmp_path / "pair.yaml").write_text(
        GOOD.replace("[{folder: b}]", "&v [{folder: b}]").replace("[{folder: c}]", "*v")
    )
    assert load_config(tmp_path / "pair.yaml").data.test == (Source(folder="b"),)
    (tmp_path / "pair.yaml").write_text("a" * 2**21)
    assert "has more than" in refused(lambda: load_config(tmp_path / "pair.yaml"))


@pytest.mark.parametrize("key", ["trust_remote_code", "data.train.0.trust_remote_code", "train.trust_remote_code"])
def test_a_config_that_asks_to_trust_remote_code_is_refused_in_words(tmp_path, key):
    path = tmp_path / "pair.yaml"
    path.write_text(GOOD)
    message = refused(lambda: load_config(path, [f"{key}=true"]))
    assert message.startswith(f"{key}: ")
    assert "is never run" in message


# Metadata

SPEECH = Data((), (), ())


@pytest.fixture(scope="module")
def clip() -> bytes:
    import numpy as np
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.zeros(SAMPLE_RATE // 2, np.float32), SAMPLE_RATE, format="WAV")
    return file.getvalue()


@pytest.fixture
def corpus(tmp_path, clip) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "clip.wav").write_bytes(clip)
    return folder


def read(folder: Path) -> str:
    source = [Source(folder=str(folder))]
    refused(lambda: load_training_clips(source, SPEECH, 30.0))
    return refused(lambda: load_test_clips(source, SPEECH, 30.0, "test"))


@quick
@given(st.sampled_from(["metadata.csv", "metadata.jsonl", "metadata.parquet"]), st.binary(max_size=200))
def test_metadata_of_any_bytes(tmp_path_factory, name, content):
    folder = tmp_path_factory.mktemp("corpus")
    (folder / name).write_bytes(content)
    assert read(folder)
    shutil.rmtree(folder)


@quick
@example([{"\n": None}])
@given(st.lists(st.dictionaries(st.sampled_from(["file_name", "text", "x"]), trees, max_size=3) | trees, max_size=3))
def test_metadata_of_any_rows(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    assert read(folder)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "name", ["../secret.wav", "/etc/hostname", "a/../../secret.wav", "link.wav", "linked/secret.wav"]
)
def test_no_path_in_metadata_leaves_its_folder(corpus, clip, name):
    (corpus.parent / "secret.wav").write_bytes(clip)
    (corpus / "link.wav").symlink_to("../secret.wav")
    (corpus / "linked").symlink_to("..")
    (corpus / "metadata.csv").write_text(f"file_name,text\n{name},x\n")
    assert "leaves the folder" in read(corpus)


@pytest.mark.parametrize("name", ["\\u0000", "a" * 5000, "loop.wav", "pipe.wav", "", ".", "clip.wav/x"])
def test_hostile_file_names_are_refused(corpus, name):
    (corpus / "loop.wav").symlink_to("loop.wav")
    os.mkfifo(corpus / "pipe.wav")  # whose reading would never end
    (corpus / "metadata.jsonl").write_text(f'{{"file_name": "{name}", "text": "x"}}\n')
    assert read(corpus)


# Audio


@quick
@given(st.binary(max_size=400), st.sampled_from([b"", b"RIFF", b"fLaC", b"OggS", b"ID3", b"\xff\xfb"]))
def test_audio_of_any_bytes(content, magic):
    refused(lambda: read_audio(magic + content))
    refused(lambda: audio_seconds(magic + content))


@quick
@given(st.integers(0, 60), st.binary(min_size=1, max_size=4))
def test_audio_with_any_harm_in_its_header(clip, position, harm):
    content = bytearray(clip)
    content[position : position + len(harm)] = harm
    refused(lambda: read_audio(bytes(content)))
    refused(lambda: audio_seconds(bytes(content)))


# Reports


@quick
@given(st.binary(max_size=100) | trees.map(lambda tree: json.dumps(tree).encode()) | st.just(DEEP.encode()))
def test_a_report_of_any_content(tmp_path_factory, content):
    output = tmp_path_factory.getbasetemp() / "run"
    (output / "eval").mkdir(parents=True, exist_ok=True)
    (output / "eval" / "report.json").write_bytes(content)
    assert "evaluate again" in refused(lambda: read_report(output / "eval" / "report.json"))
