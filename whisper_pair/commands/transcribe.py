"""`whisper-pair transcribe FILES...`: text and subtitles of audio and video files of any length."""

import argparse
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..checkpoints import add_pair_arguments, pair_from_arguments
from ..config import home
from ..data import shown
from ..errors import InputError
from ..escaping import terminal
from ..runs import write_text
from ..text import code_of
from .console import LOGGER
from .devices import add_device, load
from .made_with import MadeWith
from .media_files import Media, is_there, make_folder, media_files, targets

if TYPE_CHECKING:
    from ..decoding import Options
    from ..longform import Transcription
    from ..pair import Pair

SUMMARY = "transcribe audio and video files of any length with a pair"

FORMATS = ("txt", "srt", "vtt", "tsv", "json")
TIMED = {"srt", "vtt"}  # whose cues are shorter than a window: without timestamps they need the times of words


def add(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="audio or video; a folder: all in it; - : standard input"
    )
    add_pair_arguments(parser)
    parser.add_argument(
        "--language", help="nl, Dutch ...; unset: the main's own, or detected in each file's first window"
    )
    parser.add_argument("--task", default="transcribe", choices=("transcribe", "translate"))
    parser.add_argument(
        "--format", action="append", metavar="F", help=f"{', '.join(FORMATS)} (txt); several: srt,json, or given again"
    )
    parser.add_argument(
        "--output", type=home, metavar="DIR", help="where the results go, one file each; unset: printed"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="transcribe files again whose results are in DIR already"
    )
    parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="windows decoded at once (8)")
    parser.add_argument("--draft-tokens", default="auto", metavar="N", help="drafted a round (auto); 0: the main alone")
    parser.add_argument("--chunked", action="store_true", help="cut at quiet places: faster for few, long files")
    parser.add_argument(
        "--no-timestamps", action="store_true",
        help="never ask the main for timestamps; unset: where it was trained with them. Implies --chunked",
    )  # fmt: skip
    parser.add_argument(
        "--short-windows", default="auto", choices=("auto", "off"),
        help="auto: windows end soon after their speech where the main was trained so; off: all are of 30 s",
    )  # fmt: skip
    parser.add_argument("--vad", action="store_true", help="decode only speech, as silero-vad finds it")
    parser.add_argument("--track", type=int, default=1, metavar="N", help="which of a file's audio tracks (1)")
    parser.add_argument("--words", action="store_true", help="the time of each word; subtitles by it")
    parser.add_argument(
        "--fallback", action="store_true", help="sample again where the text repeats itself; skip silence"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, notes or summary, only errors")
    add_device(parser)


@dataclass
class Work:
    """What there is to do, and what went wrong before any of it."""

    files: dict[Media, list[Path]]  # with the results that are missing; none: printed
    failures: list[str] = field(default_factory=list)
    there: dict[Path, Media] = field(default_factory=dict)  # results that are there already, and are to stay


def run(args: argparse.Namespace) -> int:
    """Transcribes the files, and returns 2 where one of them failed."""
    if args.quiet:
        LOGGER.setLevel(logging.ERROR)
    formats = checked_formats(args.format)
    work = todo(args, formats)
    for failure in work.failures:
        complain(failure)
    if work.failures and not work.files:
        return 2
    main, assistant = pair_from_arguments(args)
    draft_tokens = drafts(args.draft_tokens)
    language = None if args.language is None else code_of(args.language, "--language")
    made_with = settings(args, main)
    made = None if args.output is None else MadeWith(Path(args.output))
    if made is not None:
        for target, file in work.there.items():
            made.refuse_others(target, made_with | size_of(file))
    if not work.files:
        there = len(set(work.there.values()))
        note(f"{args.output}: all {there} exist already; --overwrite replaces them", args.quiet)
        return 0
    pair = load(main, assistant, args.device, args.precision, language)
    options = pair.options(
        language, args.task, draft_tokens, timestamps=not args.no_timestamps, batch_size=args.batch_size
    )
    results = Results(work, formats, made, made_with, args.quiet)
    for index, transcription in transcriptions(pair, options, results, args):
        results.add(index, transcription, detected=options.language is None)
    return results.finish()


def transcriptions(
    pair: "Pair", options: "Options", results: "Results", args: argparse.Namespace
) -> "Iterator[tuple[int, Transcription]]":
    """Each file's index and transcription, as soon as it is complete."""
    from ..longform import transcribe

    return transcribe(
        pair,
        [file.source for file in results.files],
        with_fallback(options) if args.fallback else options,
        chunked=args.chunked or args.no_timestamps,
        word_times=True if args.words else None if TIMED & set(results.formats) else False,
        as_trained=not args.no_timestamps,
        speech_alone=args.vad,
        on_progress=results.bar.at,
        on_failure=results.add_failure,
        track=args.track,
        margin=pair.margin(args.short_windows),
    )


class Results:
    """Writes or prints each transcription, and collects what is reported at the end: notes, failures and speed."""

    def __init__(
        self, work: Work, formats: list[str], made: MadeWith | None, made_with: dict[str, Any], quiet: bool
    ) -> None:
        """`made`: the record of the output folder, to which `made_with` is added; None: results are printed."""
        self.work, self.formats, self.made, self.made_with, self.quiet = work, formats, made, made_with, quiet
        self.files = list(work.files)
        self.bar = Bar(quiet)
        self.done: list[Transcription] = []
        self.notes: list[str] = []
        self.failures: list[str] = []
        self.start = time.perf_counter()

    def add(self, index: int, transcription: "Transcription", detected: bool) -> None:
        """Writes or prints the transcription of file `index`. `detected`: its language was not given."""
        file = self.files[index]
        self.done.append(transcription)
        self.notes += [f"{file.name}: {line}" for line in transcription.notes]
        if detected and transcription.language is not None:
            language = transcription.language
            self.notes.append(f"{file.name}: its language is {language}, as detected in its first window")
        if self.work.files[file]:
            self._write(file, transcription)
        else:
            self._print(file, transcription)

    def add_failure(self, index: int, error: Exception) -> None:
        """Reports a file that could not be transcribed at the end."""
        self.failures.append(reason(self.files[index], error))

    def finish(self) -> int:
        """Prints notes, failures and a summary on stderr, and returns the exit status."""
        self.bar.close()
        for line in self.notes:
            note(f"note: {terminal(line)}", self.quiet)
        for failure in self.failures:
            complain(failure)
        failed = len(self.work.failures) + len(self.failures)
        count = len({*self.files, *self.work.there.values()}) + len(self.work.failures)
        if failed and count > 1:
            note(f"{failed} of {count} files failed", self.quiet)
        if self.done:
            note(summary(self.done, time.perf_counter() - self.start), self.quiet)
        return 2 if failed else 0

    def _write(self, file: Media, transcription: "Transcription") -> None:
        from ..longform import FORMATS as WRITERS

        for target in self.work.files[file]:
            try:
                write_text(target, WRITERS[target.suffix[1:]](transcription))
                if self.made is not None:
                    self.made.add(target, self.made_with | size_of(file))
            except OSError as error:
                self.failures.append(f"{file.name}: {shown(str(target))} cannot be written ({error.strerror}).")

    def _print(self, file: Media, transcription: "Transcription") -> None:
        from ..longform import FORMATS as WRITERS

        try:
            with self.bar.aside():
                named = f"{terminal(file.name)}:\n" if len(self.files) > 1 else ""
                say(named + terminal(WRITERS[self.formats[0]](transcription), lines=True))
        except OSError:  # whoever reads the output has gone, or it has no room
            self.bar.close()
            raise


def checked_formats(given: Sequence[str] | None) -> list[str]:
    """The formats that --format names, each once. Raises InputError for one that is not known."""
    formats = list(dict.fromkeys(name.strip() for text in given or ["txt"] for name in text.split(",")))
    for name in formats:
        if name not in FORMATS:
            raise InputError(f"--format {shown(name)}: expected some of {', '.join(FORMATS)}, such as srt,json.")
    return formats


def with_fallback(options: "Options") -> "Options":
    """Whisper's own: hotter while a window repeats itself or is unlikely; silence is left out."""
    return replace(
        options,
        temperature=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        compression_ratio_threshold=1.35,
        log_probability_threshold=-1.0,
        no_speech_threshold=0.6,
    )


def settings(args: argparse.Namespace, main: str) -> dict[str, Any]:
    """Everything that decides a result, besides the file: options, and the main's name and the time of its weights.

    "auto" windows go unnamed: results that are older than short windows were made like that.
    """
    names = ("language", "task", "chunked", "no_timestamps", "vad", "track", "words", "fallback")
    written = max((int(file.stat().st_mtime) for file in Path(main).glob("*.safetensors")), default=None)
    found = {"main": main, "written": written} | {name: getattr(args, name) for name in names}
    return found if args.short_windows == "auto" else found | {"short_windows": args.short_windows}


def size_of(file: Media) -> dict[str, int]:
    """A file's size in bytes, to recognize another file of the same name."""
    return {"bytes": len(file.source) if isinstance(file.source, bytes) else Path(file.source).stat().st_size}


def todo(args: argparse.Namespace, formats: list[str]) -> Work:
    """Each file with where its results go, without those that are there; and why others cannot be."""
    if args.batch_size < 1:
        raise InputError(f"--batch-size {args.batch_size}: expected at least 1.")
    if args.track < 1:
        raise InputError(f"--track {args.track}: expected 1 for the first audio track, 2 for the second, and so on.")
    files, failures = media_files(args.files)
    if args.output is None:
        if len(formats) > 1 or (formats != ["txt"] and max(len(args.files), len(files)) > 1):
            raise InputError(f"several files, or formats, as {', '.join(formats)} need a folder: add --output DIR.")
        return Work({file: [] for file in files}, failures)
    work = Work({}, failures)
    results = targets(files, Path(args.output), formats)
    make_folder(Path(args.output))
    for target, file in results.items():
        try:
            there = is_there(target)
        except OSError as error:
            work.failures.append(f"{file.name}: its result cannot be named {shown(target.name)} ({error.strerror}).")
            continue
        if there and not args.overwrite:
            work.there[target] = file
        else:
            work.files.setdefault(file, []).append(target)
    return work


def say(text: str) -> None:
    """On stdout, whatever characters it can write."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), end="", flush=True)


def note(line: str, quiet: bool) -> None:
    """One line on stderr, unless --quiet."""
    if not quiet:
        print(line, file=sys.stderr)


def complain(failure: str) -> None:
    """One line on stderr."""
    print(f"error: {terminal(failure)}", file=sys.stderr)


def reason(file: Media, error: Exception) -> str:
    """One line that names the file."""
    why = shown(" ".join(str(error).split())) or type(error).__name__
    if not isinstance(error, InputError):
        return f"{file.name}: cannot be transcribed ({why[:200]})."
    return why if isinstance(file.source, str) else f"{file.name}: {why.removeprefix('audio bytes: ')}"


def drafts(text: str) -> int | Literal["auto"]:
    """The value of --draft-tokens. Raises InputError for what is no number."""
    if text == "auto":
        return "auto"
    if not text.isdecimal():
        raise InputError(f"--draft-tokens {text}: expected auto or a whole number.")
    return int(text)


def summary(done: "Sequence[Transcription]", seconds: float) -> str:
    """Speed and acceptance of the whole call, reading files included."""
    audio = sum(transcription.seconds for transcription in done)
    drafted, accepted = (sum(getattr(t, name) for t in done) for name in ("drafted", "accepted"))
    files = "1 file" if len(done) == 1 else f"{len(done)} files"
    line = f"{files}, {audio:.1f} s of audio in {seconds:.1f} s: {audio / seconds:.1f}x real time"
    return line + (f"; {accepted} of {drafted} drafted tokens accepted" if drafted else "; nothing was drafted")


class Bar:
    """Seconds of audio transcribed, out of those of the files opened so far."""

    def __init__(self, quiet: bool = False) -> None:
        self.tqdm: Any = None
        self.quiet = quiet
        self.seconds: dict[int, float] = {}

    def at(self, index: int, seconds: float, total: float) -> None:
        """File `index` is transcribed up to `seconds` of `total`."""
        from tqdm import tqdm

        if self.quiet:
            return
        if self.tqdm is None:
            self.tqdm = tqdm(total=0, bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]")
        if index not in self.seconds:
            self.seconds[index] = 0.0
            self.tqdm.total += total
        self.tqdm.update(seconds - self.seconds[index])
        self.seconds[index] = seconds

    def aside(self) -> AbstractContextManager[None]:
        """Inside, stdout may be written to without breaking into the bar."""
        return nullcontext() if self.tqdm is None else self.tqdm.external_write_mode(file=sys.stdout)

    def close(self) -> None:
        """Leaves the bar as it is."""
        if self.tqdm is not None:
            self.tqdm.close()
