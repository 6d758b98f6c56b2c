"""The same speech in every form that a source can have, written as their users would find it."""

import csv
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import soundfile

from whisper_pair.audio.sound import SAMPLE_RATE
from whisper_pair.config.schema import Source

FORMS = ("folder", "manifest", "webdataset", "parquet", "streamed")


def tone(seconds: float, pitch: int, rate: int = SAMPLE_RATE) -> np.ndarray:
    """float64 [samples], a different sound for each pitch."""
    return 0.1 * np.sin(np.arange(round(seconds * rate)) / pitch)


def wav(samples: np.ndarray, rate: int = SAMPLE_RATE, subtype: str = "PCM_16", container: str = "WAV") -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=container, subtype=subtype)
    return out.getvalue()


def clips(count: int = 6) -> list[dict]:
    """Rows with audio (a file's bytes), text and speaker."""
    return [
        {"audio": wav(tone(1 + i / 4, 10 + i)), "text": f"zin nummer {i}", "speaker": f"s{i % 2}"} for i in range(count)
    ]


def write(path: Path, form: str, rows: list[dict]) -> Source:
    path.mkdir(parents=True)
    match form:
        case "folder":
            write_table(path / "metadata.csv", _files(path, rows, "file_name"))
            return Source(folder=str(path), speaker="speaker")
        case "manifest":
            (path / "audio").mkdir()
            listed = _files(path / "audio", rows, "audio")
            (path / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in listed), encoding="utf-8")
            return Source(manifest=str(path / "list.jsonl"), root=str(path / "audio"), speaker="speaker")
        case "webdataset":
            for shard, half in enumerate(_halves(rows)):
                write_tar(path / f"{shard}.tar", half)
            return Source(webdataset=str(path / "*.tar"), speaker="speaker")
        case _:
            for shard, half in enumerate(_halves(rows)):
                write_parquet(path / f"{shard}.parquet", half)
            return Source(parquet=str(path), speaker="speaker", stream=form == "streamed")


def _halves(rows: list[dict]) -> list[list[dict]]:
    middle = (len(rows) + 1) // 2
    return [half for half in (rows[:middle], rows[middle:]) if half]


def write_table(path: Path, rows: list[dict]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_tar(path: Path, rows: list[dict]) -> None:
    with tarfile.open(path, "w") as tar:
        for number, row in enumerate(rows):
            about = json.dumps({"speaker": row["speaker"]}).encode()
            for ending, content in (("wav", row["audio"]), ("json", about), ("txt", row["text"].encode())):
                member = tarfile.TarInfo(f"speech/{number:04d}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def write_parquet(path: Path, rows: list[dict]) -> None:
    """As the Hub's Parquet files hold audio."""
    import pyarrow as pa
    import pyarrow.parquet

    stored = [row | {"audio": {"bytes": row["audio"], "path": f"{i}.wav"}} for i, row in enumerate(rows)]
    string = {"dtype": "string", "_type": "Value"}
    about = {"info": {"features": {"audio": {"_type": "Audio"}, "text": string, "speaker": string}}}
    table = pa.Table.from_pylist(stored).replace_schema_metadata({"huggingface": json.dumps(about)})
    pyarrow.parquet.write_table(table, path)


def _files(path: Path, rows: list[dict], column: str) -> list[dict]:
    listed = []
    for number, row in enumerate(rows):
        (path / f"{number:04d}.wav").write_bytes(row["audio"])
        listed.append({column: f"{number:04d}.wav", "text": row["text"], "speaker": row["speaker"]})
    return listed
