#!/usr/bin/env python3
"""Builds 91 minutes of real, transcribed Dutch speech from two Debian packages, with no Hub.

    python benchmarks/dutch_speech.py OUT_DIR     # -> OUT_DIR/{train,validation,test}/metadata.csv and the .ogg clips

The lines are those of the game Fish Fillets, acted by several voices: 22.05 kHz stereo Ogg Vorbis, 1528 clips with
their Dutch text. The packages are GPL-2, so the speech is fetched where it is needed and never redistributed with us.
A level repeats its voices and its words, so whole levels are held out: one in ten for validation, one in ten for test.
Needs Debian's or Ubuntu's apt-get and dpkg-deb, and no root.
"""

import csv
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("fillets-ng-data", "fillets-ng-data-nl")
GAME = Path("usr/share/games/fillets-ng")
LANGUAGE = "nl"
SPLITS = ("train", "validation", "test")

QUOTED = r'"((?:[^"\\]|\\.)*)"'
# dialogId("clip", "font_speaker", "English") then dialogStr("Dutch")
LINE = re.compile(rf"dialogId\(\s*{QUOTED}\s*,\s*{QUOTED}\s*,\s*{QUOTED}\s*\)\s*dialogStr\(\s*{QUOTED}\s*\)")


class Line(NamedTuple):
    text: str
    translation: str
    speaker: str


class Clip(NamedTuple):
    path: Path
    level: str
    line: Line


def fetch_game(work: Path) -> Path:
    """Downloads and unpacks the packages under `work`; returns the game's folder."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is not on this machine: this script needs Debian or a relative such as Ubuntu.")
    # Without the sandbox user, apt may write into a folder that only this user can enter.
    download = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", *PACKAGES]
    try:
        subprocess.run(download, cwd=work, check=True, capture_output=True, text=True)
        for package in sorted(work.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, work / "root"], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        reason = " ".join(error.stderr.split())
        sys.exit(f"{error.cmd[0]} could not provide {' and '.join(PACKAGES)} (is apt-get update due?): {reason}")
    return work / "root" / GAME


def read_lines(game: Path) -> dict[tuple[str, str], Line]:
    """Every spoken line by (level, clip name)."""
    lines = {}
    for script in game.glob(f"script/*/dialogs_{LANGUAGE}.lua"):
        for clip, font, english, dutch in LINE.findall(script.read_text(encoding="utf-8")):
            lines[script.parent.name, clip] = Line(dutch, english, font.removeprefix("font_"))
    return lines


def transcribed_clips(game: Path) -> Iterator[Clip]:
    """The clips that have a text; a clip whose level does not list it may be listed under another level."""
    lines = read_lines(game)
    anywhere = {clip: line for (_, clip), line in lines.items()}
    for path in sorted(game.glob(f"sound/*/{LANGUAGE}/*.ogg")):
        level = path.parent.parent.name
        line = lines.get((level, path.stem)) or anywhere.get(path.stem)
        if line and line.text.strip():
            yield Clip(path, level, line)


def split_of(level: str) -> str:
    """A level's split depends on its name alone, so it never moves."""
    return {0: "validation", 1: "test"}.get(zlib.crc32(level.encode()) % 10, "train")


def build(out: Path) -> dict[str, int]:
    """Writes the three folders; returns how many clips each holds."""
    rows: dict[str, list[tuple[str, ...]]] = {split: [] for split in SPLITS}
    with tempfile.TemporaryDirectory() as work:
        game = fetch_game(Path(work))
        for split in SPLITS:
            (out / split).mkdir(parents=True, exist_ok=True)
        for clip in transcribed_clips(game):
            split, name = split_of(clip.level), f"{clip.level}-{clip.path.name}"
            shutil.copyfile(clip.path, out / split / name)
            rows[split].append((name, *clip.line, clip.level))
    for split in SPLITS:
        with open(out / split / "metadata.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("file_name", *Line._fields, "level"))
            writer.writerows(rows[split])
    return {split: len(rows[split]) for split in SPLITS}


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    for split, count in build(Path(sys.argv[1])).items():
        print(f"{split}: {count} clips")
