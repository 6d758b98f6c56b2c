"""Tables as people and programs write them: the same rows, or a sentence with file and line; never a cut text."""

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.corpora import tone, wav, write_tar
from tests.data.tables import WAYS, clips_of, data, refusal
from whisper_pair.audio.sound import SAMPLE_RATE
from whisper_pair.config.schema import Source
from whisper_pair.data.corpus import load_training_clips
from whisper_pair.data.tables import read_table
from whisper_pair.errors import InputError

quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three files of different sound: a.wav, b.wav, c.wav."""
    for i, name in enumerate("abc"):
        soundfile.write(tmp_path / f"{name}.wav", tone(2, 10 + i), SAMPLE_RATE)
    return tmp_path


# The same rows, whoever wrote them

cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
tables = st.lists(st.tuples(cells, cells), min_size=1, max_size=6)


def written(path: Path, rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    if path.suffix in (".csv", ".tsv"):
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writerows([("name", "text"), *rows])
    elif path.suffix == ".jsonl":
        lines = (json.dumps({"name": name, "text": text}, ensure_ascii=False) + "\n" for name, text in rows)
        path.write_text("".join(lines), encoding="utf-8", newline="")
    else:
        import pyarrow as pa
        import pyarrow.parquet

        names = ("name", "text")
        pyarrow.parquet.write_table(pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows]), path)
    found = read_table(path, lambda columns: {name: columns.index(name) for name in ("name", "text")})
    return [(record.cells["name"], record.cells["text"]) for record in found]


@quick
@given(tables, st.sampled_from(["csv", "tsv", "jsonl", "parquet"]))
def test_a_table_of_any_text_reads_back_as_it_was_written(tmp_path_factory, rows, ending):
    path = tmp_path_factory.getbasetemp() / f"table.{ending}"
    full = rows if ending in ("jsonl", "parquet") else [row for row in rows if any(cell.strip() for cell in row)]
    assert written(path, rows) == full


@quick
@given(st.text(st.sampled_from('ab,";\t\n\r \\{}[]:1'), max_size=40), st.sampled_from(["csv", "tsv", "jsonl"]))
def test_lines_of_anything_are_read_whole_or_refused(tmp_path_factory, lines, ending):
    """Every character of a delimited cell that is not quoted is kept, and no line is lost."""
    path = tmp_path_factory.getbasetemp() / f"junk.{ending}"
    header = {"jsonl": '{"x": "a", "y": "b"}\n', "csv": "x,y\n", "tsv": "x\ty\n"}[ending]
    path.write_text(header + lines, encoding="utf-8", newline="")
    try:
        records = read_table(path, lambda columns: {"x": columns.index("x"), "y": columns.index("y")})
    except InputError as error:
        message = str(error)
    else:
        message = ""
    if message:
        assert message.startswith(str(path))
        assert "\n" not in message
        return
    if ending == "jsonl":
        assert len(records) == 1 + sum(bool(line.strip()) for line in lines.replace("\r", "\n").split("\n"))
    elif '"' not in lines:
        delimiter = "," if ending == "csv" else "\t"
        stated = [line for line in lines.replace("\r", "\n").split("\n") if line.replace(delimiter, "").strip()]
        assert [delimiter.join((record.cells["x"], record.cells["y"])) for record in records] == stated


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file_name,text\na.wav,Ja, goed.\nb.wav,Nee\n", "line 2: has 3 fields where the header has 2"),
        ("file_name,text\nb.wav,Nee\na.wav\n", "line 3: has 1 field where"),
        ('file_name,text\na.wav,"Ja\nb.wav,Nee\n', "line 2"),
        ('file_name,text\na.wav,"Ja\nb.wav,Nee"\nc.wav,Goed\n', "line 2: a cell in quotation marks goes on over"),
        ('text,file_name\n"Ja,a.wav\nNee",b.wav\nGoed,c.wav\n', "line 2: a cell in quotation marks goes on over"),
        ('file_name,text\na.wav,"Hij zei "ja" en ging"\n', "line 2"),
        ('file_name,text\na.wav, "Ja dat klopt"\n', "line 2: a quotation mark is after a space"),
        ("file_name,text, text\na.wav,een,twee\n", "the columns 'text' and 'text' could each be 'text'"),
        ("file_name,Text,TEXT\na.wav,een,twee\n", "the columns 'Text' and 'TEXT' could each be 'text'"),
    ],
)
def test_a_csv_that_cannot_be_read_with_certainty_is_refused_with_its_line(folder, way, content, message):
    (folder / "metadata.csv").write_text(content)
    assert message in refusal(Source(folder=str(folder)), way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.csv", b"\xef\xbb\xbfFile Name,TEXT\r\na.wav,Ja\r\nb.wav,Nee\r\n"),
        ("metadata.csv", b"file_name;text\na.wav;Ja\nb.wav;Nee\n"),
        ("metadata.csv", b'file_name, text\na.wav, "Ja"\nb.wav, Nee\n'),
        ("metadata.csv", b"file_name,text,,\na.wav,Ja,,\n,,,\nb.wav,Nee,,\n\n"),
        ("metadata.csv", b"text,note,note,file_name\nJa,x,y,a.wav\nNee,x,y,b.wav\n"),
        ("metadata.tsv", b"file_name\ttext\na.wav\tJa\nb.wav\tNee\n"),
        ("metadata.csv", "file_name\ttext\r\na.wav\tJa\r\nb.wav\tNee\r\n".encode("utf-16")),
        ("metadata.csv", b"file_name,text\r./a.wav,Ja\r./b.wav,Nee\r"),
        ("metadata.jsonl", b'\n{"text": "Ja", "file_name": "a.wav", "x": []}\r\n{"file_name": "b.wav", "text": "Nee"}'),
    ],
)
def test_headers_and_delimiters_may_be_written_otherwise(folder, way, name, content):
    (folder / name).write_bytes(content)
    assert [clip.text for clip in clips_of(Source(folder=str(folder)), way)] == ["Ja", "Nee"]


def test_a_cell_may_have_several_lines_and_marks_within(folder):
    text = 'Hij zei: "ja",\nen ging.'
    with open(folder / "metadata.csv", "w", newline="") as file:
        csv.writer(file).writerows([("file_name", "text"), ("a.wav", text)])
    assert [clip.text for clip in clips_of(Source(folder=str(folder)), "test")] == [text]


def test_two_tables_in_one_folder_are_refused(folder):
    (folder / "metadata.csv").write_text("file_name,text\na.wav,Ja\n")
    (folder / "metadata.jsonl").write_text('{"file_name": "b.wav", "text": "Nee"}\n')
    assert "holds metadata.csv and metadata.jsonl" in refusal(Source(folder=str(folder)), "test")


def test_files_that_a_test_set_does_not_list_are_counted(folder, caplog):
    (folder / "metadata.csv").write_text("file_name,text\n./a.wav,Ja\n")
    assert len(clips_of(Source(folder=str(folder)), "test")) == 1
    assert "left out 2 audio files that its metadata does not list" in caplog.text


# Cells that are no text


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (["Ja"], "text is not text but a list"),
        ({"nl": "Ja"}, "text is not text but keys and values"),
        (True, "text is not text but true or false"),
        (1.5, "text is not text but a number with a fraction"),
        (float("nan"), "has no text"),
        (None, "has no text"),
    ],
)
def test_a_cell_that_is_no_text_is_its_rows_problem_alone(folder, cell, message):
    rows = [{"file_name": "a.wav", "text": "Ja"}, {"file_name": "b.wav", "text": cell}]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = Source(folder=str(folder))
    found = load_training_clips([source], data(), 30)
    assert [clip.text for clip in found.clips if clip.text is not None] == ["Ja"]
    refused = refusal(source, "test")
    assert message in refused
    assert "b.wav" in refused
    if "is not text" in message:
        assert found.dropped[message] == 1
        assert "metadata.jsonl, line 2" in refused


def test_a_number_is_the_digits_that_were_spoken(folder):
    (folder / "metadata.jsonl").write_text('{"file_name": "a.wav", "text": 112}\n')
    assert [clip.text for clip in clips_of(Source(folder=str(folder)), "test")] == ["112"]


@pytest.mark.parametrize("line", ["{broken", "[" * 100_000, '{"text": "a", "text": "b", "file_name": "b.wav"}', "1"])
def test_a_broken_line_of_json_costs_no_other(folder, line):
    (folder / "metadata.jsonl").write_text(f'{{"file_name": "a.wav", "text": "Ja"}}\n{line}\n')
    source = Source(folder=str(folder))
    found = load_training_clips([source], data(), 30)
    assert [clip.text for clip in found.clips] == ["Ja"]
    assert sum(found.dropped[reason] for reason in found.dropped if reason.startswith("broken line")) == 1
    assert "line 2" in refusal(source, "test")


# Audio in a cell


def pcm(i: int = 0) -> np.ndarray:
    return np.rint(tone(1, 10 + i) * 32767).astype(np.int64)


FORMS = {
    "bytes": lambda i: {"audio": wav(tone(1, 10 + i))},
    "a dict of bytes": lambda i: {"audio": {"bytes": wav(tone(1, 10 + i)), "path": None}},
    "an array": lambda i: {"audio": {"array": tone(1, 10 + i).tolist(), "sampling_rate": SAMPLE_RATE}},
    "samples": lambda i: {"audio": tone(1, 10 + i).tolist(), "sampling_rate": SAMPLE_RATE},
    "integers": lambda i: {"audio": pcm(i).tolist(), "Sample Rate": SAMPLE_RATE},
    "integers as floats": lambda i: {"audio": pcm(i).astype(float).tolist(), "sampling_rate": SAMPLE_RATE},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["parquet", "streamed", "manifest"])
def test_audio_in_a_cell_is_read_whatever_form_it_has(tmp_path, form, kind, no_copies_at_home):
    import pyarrow as pa
    import pyarrow.parquet

    rows = [FORMS[form](i) | {"text": f"zin {i}"} for i in range(3)]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    path = str(tmp_path / "rows.parquet")
    source = Source(manifest=path) if kind == "manifest" else Source(parquet=path, stream=kind == "streamed")
    for way in WAYS:
        found = clips_of(source, way, cache=str(tmp_path / "cache"))
        assert [clip.text for clip in found] == ["zin 0", "zin 1", "zin 2"]
        for i, clip in enumerate(found):
            assert np.allclose(clip.read(), tone(1, 10 + i), atol=1e-3)


def test_numbers_without_a_rate_are_refused_in_a_sentence(tmp_path):
    (tmp_path / "list.jsonl").write_text(json.dumps({"audio": [0.1, 0.2], "text": "Ja"}) + "\n")
    assert "numbers without their rate" in refusal(Source(manifest=str(tmp_path / "list.jsonl")), "test")


# Paths


def test_files_of_a_download_cache_are_links_to_its_blobs_and_to_nowhere_else(tmp_path):
    blobs = tmp_path / "datasets--org--set" / "blobs"
    snapshot = blobs.parent / "snapshots" / "1a" / "nl"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (blobs / "0f").write_bytes(wav(tone(1, 10)))
    (tmp_path / "secret.wav").write_bytes(wav(tone(1, 11)))
    (snapshot / "a.wav").symlink_to("../../../blobs/0f")
    (snapshot / "b.wav").symlink_to(tmp_path / "secret.wav")
    (snapshot / "metadata.csv").write_text("file_name,text\na.wav,Ja\n")
    assert len(clips_of(Source(folder=str(snapshot)), "test")) == 1
    (snapshot / "metadata.csv").write_text("file_name,text\nb.wav,Ja\n")
    assert "leaves the folder" in refusal(Source(folder=str(snapshot)), "test")


def test_a_tilde_is_the_own_home(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    (folder / "metadata.csv").write_text("file_name,text\na.wav,Ja\n~/b.wav,Nee\n")
    assert len(clips_of(Source(folder="~"), "test")) == 2
    assert len(clips_of(Source(manifest="~/metadata.csv", audio="file_name"), "training")) == 2


# Sizes that are claimed


def test_parquet_of_few_bytes_and_many_rows_is_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet

    table = pa.table({"audio": pa.nulls(10**6, pa.string()), "text": pa.nulls(10**6, pa.string())})
    for name in ("metadata.parquet", "rows.parquet"):
        pyarrow.parquet.write_table(table, tmp_path / name, compression="zstd")
    assert (tmp_path / "rows.parquet").stat().st_size < 100_000
    source = Source(manifest=str(tmp_path / "metadata.parquet"))
    for one in (source, Source(parquet=str(tmp_path / "rows.parquet"))):
        assert "claims 1000000 rows in" in refusal(one, "training")


def test_a_tar_member_that_claims_a_terabyte_costs_itself_alone(tmp_path):
    rows = [{"audio": wav(tone(1, 10 + i)), "text": f"zin {i}", "speaker": "a"} for i in range(3)]
    write_tar(tmp_path / "a.tar", rows)
    content = bytearray((tmp_path / "a.tar").read_bytes())
    at = content.index(b"speech/0002.wav")
    content[at + 124 : at + 136] = b"\x80" + (10**12).to_bytes(11, "big")
    content[at + 148 : at + 156] = b" " * 8
    content[at + 148 : at + 156] = b"%06o\0 " % sum(content[at : at + 512])
    (tmp_path / "a.tar").write_bytes(content)
    source = Source(webdataset=str(tmp_path / "a.tar"))
    corpus = load_training_clips([source], data(), 30)
    assert [clip.text for clip in corpus.clips] == ["zin 0", "zin 1"]
    assert corpus.dropped == {"truncated": 1}
    assert "0002: truncated" in refusal(source, "test")


def test_what_is_odd_in_one_clip_of_a_tar_is_that_clips(tmp_path):
    import io
    import tarfile

    members = [("0.wav", wav(tone(1, 10))), ("0.json", b"[" * 100_000), ("0.txt", b"Ja")]
    members += [("1.wav", wav(tone(1, 11))), ("1.flac", wav(tone(1, 12), container="FLAC")), ("1.txt", b"Nee")]
    members += [("2.wav", wav(tone(1, 13))), ("2.json", b'{"text": "een"}'), ("2.txt", b"twee")]
    members += [("3.wav", wav(tone(1, 14))), ("3.json", b'{"text": "Goed"}'), ("3.txt", b"Goed\n")]
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    source = Source(webdataset=str(tmp_path / "a.tar"))
    corpus = load_training_clips([source], data(), 30)
    assert [clip.text.strip() for clip in corpus.clips] == ["Goed"]
    assert len(corpus.dropped) == 3
    named = load_training_clips([replace(source, audio="flac")], data(), 30)
    assert [clip.text.strip() for clip in named.clips] == ["Nee", "Goed"]


def test_a_pipe_in_place_of_a_shard_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.tar")
    assert "is not a file" in refusal(Source(webdataset=str(tmp_path / "*.tar")), "training")
