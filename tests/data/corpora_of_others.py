"""The same five utterances in each layout that people have, as its own tools write it."""

import gzip
import json
from pathlib import Path

import numpy as np
import soundfile

from tests.corpora import tone, wav, write_parquet, write_table, write_tar
from whisper_pair.audio.sound import SAMPLE_RATE

TEXTS = ["Eén, twee.", "Drie vier!", "Vijf zes", "Zeven", "Acht negen tien."]
SECONDS = [1.0, 1.25, 1.5, 1.75, 2.0]
SPEAKERS = ["anna", "anna", "bram", "bram", "cees"]


def clip(number: int) -> bytes:
    return wav(tone(SECONDS[number], 10 + number))


def speech(number: int) -> np.ndarray:
    return tone(SECONDS[number], 10 + number)


def put(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def common_voice(folder: Path) -> None:
    release = folder / "cv-corpus-17.0-2024-03-15" / "nl"
    lines = ["client_id\tpath\tsentence\tup_votes"]
    for i, text in enumerate(TEXTS):
        put(release / "clips" / f"common_voice_nl_{i}.wav", clip(i))
        lines.append(f"{SPEAKERS[i]}\tcommon_voice_nl_{i}.wav\t{text}\t2")
    put(release / "train.tsv", "\n".join(lines) + "\n")
    put(release / "dev.tsv", "\n".join(lines[:2]) + "\n")


def ljspeech(folder: Path) -> None:
    for i in range(5):
        put(folder / "wavs" / f"LJ001-000{i}.wav", clip(i))
    put(folder / "metadata.csv", "".join(f"LJ001-000{i}|{text}|{text.lower()}\n" for i, text in enumerate(TEXTS)))


def librispeech(folder: Path) -> None:
    for i, text in enumerate(TEXTS):
        chapter = folder / "LibriSpeech" / "dev-clean" / SPEAKERS[i] / "7"
        name = f"{SPEAKERS[i]}-7-{i:04d}"
        chapter.mkdir(parents=True, exist_ok=True)
        soundfile.write(chapter / f"{name}.flac", speech(i), SAMPLE_RATE)
        with open(chapter / f"{SPEAKERS[i]}-7.trans.txt", "a", encoding="utf-8") as file:
            file.write(f"{name} {text}\n")


def mls(folder: Path) -> None:
    for split, some in (("train", range(5)), ("dev", range(1))):
        lines = []
        for i in some:
            name = f"{SPEAKERS[i]}_7_{i:06d}"
            audio = folder / "mls_dutch" / split / "audio" / SPEAKERS[i] / "7" / f"{name}.flac"
            audio.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(audio, speech(i), SAMPLE_RATE)
            lines.append(f"{name}\t{TEXTS[i]}\n")
        put(folder / "mls_dutch" / split / "transcripts.txt", "".join(lines))
        put(folder / "mls_dutch" / split / "segments.txt", f"{name}\thttp://example.org/7.mp3\t1.0\t2.0\n")
    put(folder / "mls_dutch" / "metainfo.txt", "SPEAKER | GENDER\n")


def kaldi(folder: Path) -> None:
    _kaldi(folder, {i: f"audio/{i}.wav" for i in range(5)})
    for i in range(5):
        put(folder / "audio" / f"{i}.wav", clip(i))


def _kaldi(folder: Path, audio: dict[int, str]) -> None:
    put(folder / "wav.scp", "".join(f"utt{i} {path}\n" for i, path in audio.items()))
    put(folder / "text", "".join(f"utt{i} {TEXTS[i]}\n" for i in audio))
    put(folder / "utt2spk", "".join(f"utt{i} {SPEAKERS[i]}\n" for i in audio))


def recording(path: Path) -> list[tuple[float, float]]:
    """All utterances in one file, half a second apart; when each begins and ends."""
    times, parts, at = [], [], 0.0
    for i in range(5):
        times.append((at, at + SECONDS[i]))
        parts += [speech(i), np.zeros(SAMPLE_RATE // 2)]
        at += SECONDS[i] + 0.5
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate(parts), SAMPLE_RATE)
    return times


def kaldi_segments(folder: Path) -> None:
    times = recording(folder / "audio" / "long.wav")
    _kaldi(folder, {0: "audio/long.wav"})
    put(folder / "wav.scp", "rec audio/long.wav\n")
    put(folder / "text", "".join(f"utt{i} {text}\n" for i, text in enumerate(TEXTS)))
    put(folder / "utt2spk", "".join(f"utt{i} {speaker}\n" for i, speaker in enumerate(SPEAKERS)))
    put(folder / "segments", "".join(f"utt{i} rec {a:.3f} {b:.3f}\n" for i, (a, b) in enumerate(times)))


def nemo(folder: Path) -> None:
    rows = []
    for i, text in enumerate(TEXTS):
        put(folder / "audio" / f"{i}.wav", clip(i))
        about = {"audio_filepath": f"audio/{i}.wav", "duration": SECONDS[i], "text": text, "speaker": SPEAKERS[i]}
        rows.append(about)
    put(folder / "train_manifest.json", "".join(json.dumps(row) + "\n" for row in rows))


def nemo_segments(folder: Path) -> None:
    times = recording(folder / "long.wav")
    rows = [
        {"audio_filepath": "long.wav", "offset": a, "duration": b - a, "text": TEXTS[i], "speaker": SPEAKERS[i]}
        for i, (a, b) in enumerate(times)
    ]
    put(folder / "manifest.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def lhotse_cuts(folder: Path) -> None:
    times = recording(folder / "long.wav")
    about = lhotse_recording("long.wav", times[-1][1] + 0.5)
    cuts = []
    for i, (a, b) in enumerate(times):
        supervision = {"id": f"s{i}", "recording_id": "rec", "start": 0.0, "duration": b - a, "channel": 0}
        supervision |= {"text": TEXTS[i], "language": "Dutch", "speaker": SPEAKERS[i]}
        cut = {"id": f"c{i}", "start": a, "duration": b - a, "channel": 0, "supervisions": [supervision]}
        cuts.append(cut | {"recording": about, "type": "MonoCut"})
    lhotse_file(folder / "cuts_train.jsonl.gz", cuts)


def lhotse_supervisions(folder: Path) -> None:
    times = recording(folder / "long.wav")
    lhotse_file(folder / "recordings_train.jsonl.gz", [lhotse_recording("long.wav", times[-1][1] + 0.5)])
    supervisions = [
        {"id": f"s{i}", "recording_id": "rec", "start": a, "duration": b - a, "channel": 0, "text": TEXTS[i]}
        | {"speaker": SPEAKERS[i]}
        for i, (a, b) in enumerate(times)
    ]
    lhotse_file(folder / "supervisions_train.jsonl.gz", supervisions)


def lhotse_recording(path: str, seconds: float, kind: str = "file") -> dict:
    sources = [{"type": kind, "channels": [0], "source": path}]
    samples = round(seconds * SAMPLE_RATE)
    return {"id": "rec", "sources": sources, "sampling_rate": SAMPLE_RATE, "num_samples": samples, "duration": seconds}


def lhotse_file(path: Path, items: list[dict]) -> None:
    put(path, gzip.compress("".join(json.dumps(item) + "\n" for item in items).encode()))


def saved_to_disk(folder: Path) -> None:
    import datasets

    rows = {
        "audio": [{"bytes": clip(i), "path": f"{i}.wav"} for i in range(5)],
        "sentence": TEXTS,
        "speaker_id": SPEAKERS,
    }
    table = datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio(decode=False))
    datasets.DatasetDict({"train": table, "test": table.select([0])}).save_to_disk(folder)


def rows() -> list[dict]:
    return [{"audio": clip(i), "text": TEXTS[i], "speaker": SPEAKERS[i]} for i in range(5)]


def hub_copy(folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    write_parquet(folder / "data" / "train-00000-of-00001.parquet", rows())
    write_parquet(folder / "data" / "test-00000-of-00001.parquet", rows()[:1])


def tars(folder: Path) -> None:
    folder.mkdir(parents=True)
    write_tar(folder / "0.tar", rows())


def own_folder(folder: Path) -> None:
    for split, some in (("train", range(5)), ("validation", range(1))):
        for i in some:
            put(folder / split / f"{i}.wav", clip(i))
        listed = [{"file_name": f"{i}.wav", "text": TEXTS[i], "speaker": SPEAKERS[i]} for i in some]
        write_table(folder / split / "metadata.csv", listed)


def beside_txt(folder: Path) -> None:
    for i, text in enumerate(TEXTS):
        put(folder / "audio" / f"{i}.wav", clip(i))
        put(folder / "texts" / f"{i}.txt", text + "\n")


def beside_srt(folder: Path) -> None:
    def time(seconds: float) -> str:
        return f"00:00:{int(seconds):02d},{round(1000 * seconds) % 1000:03d}"

    cues = [f"{i + 1}\n{time(a)} --> {time(b)}\n<i>{TEXTS[i]}</i>\n" for i, (a, b) in _times(folder)]
    music = f"9\n{time(0.1)} --> {time(0.2)}\n♪ [muziek] ♪\n"
    put(folder / "long.srt", "\n".join([*cues, music]))


def beside_vtt(folder: Path) -> None:
    cues = [
        f"inleiding {i}\n00:{int(a):02d}.{round(1000 * a) % 1000:03d} --> 00:{int(b):02d}.{round(1000 * b) % 1000:03d}"
        f" align:start\n<v {SPEAKERS[i]}>{TEXTS[i]}</v>\n"
        for i, (a, b) in _times(folder)
    ]
    put(folder / "long.vtt", "WEBVTT\n\nNOTE by hand\n\n" + "\n".join(cues))


def beside_stm(folder: Path) -> None:
    lines = [f"long 1 {SPEAKERS[i]} {a:.2f} {b:.2f} <o,f0,male> {TEXTS[i]}" for i, (a, b) in _times(folder)]
    put(folder / "stm" / "long.stm", ";; by hand\n" + "\n".join(lines) + "\n")


def beside_audacity(folder: Path) -> None:
    put(folder / "long.txt", "".join(f"{a:.6f}\t{b:.6f}\t{TEXTS[i]}\n\\\t0\t8000\n" for i, (a, b) in _times(folder)))


def beside_textgrid(folder: Path) -> None:
    times = [times for _, times in _times(folder)]
    end = times[-1][1] + 0.5
    intervals, at = [], 0.0
    for i, (a, b) in enumerate(times):
        intervals += [(at, a, "")] if a > at else []
        intervals.append((a, b, TEXTS[i]))
        at = b
    intervals.append((at, end, ""))
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0 ", f"xmax = {end} "]
    lines += ["tiers? <exists> ", "size = 1 ", "item []: ", "    item [1]:", '        class = "IntervalTier" ']
    lines += ['        name = "zinnen" ', "        xmin = 0 ", f"        xmax = {end} "]
    lines.append(f"        intervals: size = {len(intervals)} ")
    for number, (a, b, text) in enumerate(intervals, 1):
        lines += [f"        intervals [{number}]:", f"            xmin = {a} ", f"            xmax = {b} "]
        lines.append(f'            text = "{text}" ')
    put(folder / "long.TextGrid", "\n".join(lines) + "\n")


def _times(folder: Path) -> list[tuple[int, tuple[float, float]]]:
    return list(enumerate(recording(folder / "long.wav")))


LAYOUTS = {
    "Common Voice, train.tsv": common_voice,
    "LJSpeech": ljspeech,
    "LibriSpeech": librispeech,
    "Multilingual LibriSpeech": mls,
    "Kaldi directory": kaldi,
    "Kaldi directory ": kaldi_segments,
    "a manifest": nemo,
    "a manifest ": nemo_segments,
    "Lhotse manifest": lhotse_cuts,
    "Lhotse manifest ": lhotse_supervisions,
    "a saved data set": saved_to_disk,
    "Parquet files": hub_copy,
    "tars of clips (WebDataset)": tars,
    "a folder with metadata": own_folder,
    "clips with .txt of the same name": beside_txt,
    "recordings with .srt of the same name": beside_srt,
    "recordings with .vtt of the same name": beside_vtt,
    "recordings with .stm of the same name": beside_stm,
    "recordings with .txt of the same name": beside_audacity,
    "recordings with .TextGrid of the same name": beside_textgrid,
}
UNKNOWN_SPEAKERS = (ljspeech, beside_txt, beside_srt, beside_audacity, beside_textgrid, tars)
