"""`whisper-pair transcribe FILES...`: text and subtitles of audio and video files of any length."""

import argparse
import os
import stat
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ..audio import view
from ..checkpoints import add_pair_arguments, pair_from_arguments
from ..config import home
from ..data import shown
from ..errors import InputError
from ..escaping import terminal
from ..runs import write_text
from ..text import code_of

SUMMARY = "transcribe audio and video files of any length with a pair"

FORMATS = ("txt", "srt", "vtt", "tsv", "json")


def add(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="audio or video")
    add_pair_arguments(parser)
    parser.add_argument("--language", help="nl, Dutch ...; unset: detected in each file's first window")
    parser.add_argument("--task", default="transcribe", choices=("transcribe", "translate"))
    parser.add_argument("--format", default="txt", choices=FORMATS)
    parser.add_argument(
        "--output", type=home, metavar="DIR", help="where the results go, one file each; unset: printed"
    )
    parser.add_argument("--overwrite", action="store_true", help="do files again whose results are in DIR already")
    parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="windows decoded at once (8)")
    parser.add_argument("--draft-tokens", default="auto", metavar="N", help="drafted a round (auto); 0: the main alone")
    parser.add_argument("--chunked", action="store_true", help="cut at quiet places: faster for few, long files")
    parser.add_argument(
        "--no-timestamps", action="store_true", help="for a main that has forgotten them; implies --chunked"
    )
    parser.add_argument("--track", type=int, default=1, metavar="N", help="which of a file's audio tracks (1)")
    parser.add_argument("--words", action="store_true", help="the time of each word; subtitles by it")
    parser.add_argument(
        "--fallback", action="store_true", help="sample again where the text repeats itself; skip silence"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ...; unset: the GPU where there is one")
    add_precision(parser)


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Declares --precision."""
    parser.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "fp32", "bf16", "fp16"),
        help="auto: bf16 on a GPU that has it, else fp16; fp32 on a CPU",
    )


def run(args: argparse.Namespace) -> int:
    """Transcribes the files, and returns 2 where one of them failed."""
    wanted, failures = todo(args)
    for failure in failures:
        complain(failure)
    if failures and not wanted:
        return 2
    main, assistant = pair_from_arguments(args)
    draft_tokens = drafts(args.draft_tokens)
    language = None if args.language is None else code_of(args.language, "--language")
    if not wanted:
        print(f"{args.output}: all {len(args.files)} are there already; --overwrite does them again", file=sys.stderr)
        return 0
    pair = load(main, assistant, args.device, args.precision)

    from ..decoding import Options
    from ..longform import FORMATS as WRITERS
    from ..longform import transcribe

    chunked = args.chunked or args.no_timestamps
    options = Options(
        language=language,
        task=args.task,
        timestamps=not args.no_timestamps,
        batch_size=args.batch_size if chunked else min(args.batch_size, len(wanted)),
        draft_tokens=draft_tokens if assistant else 0,
    )
    if args.fallback:  # Whisper's own: hotter while a window repeats itself or is unlikely; silence is left out
        options = replace(
            options,
            temperature=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
            compression_ratio_threshold=1.35,
            log_probability_threshold=-1.0,
            no_speech_threshold=0.6,
        )
    bar, late, done, notes, start = Bar(), [], [], [], time.perf_counter()
    found = transcribe(
        pair,
        [source for source, _ in wanted],
        options,
        chunked=chunked,
        word_times=args.words,
        on_progress=bar.at,
        on_failure=lambda index, error: late.append(reason(wanted[index][0], error)),
        track=args.track,
    )
    for index, transcription in found:
        source, target = wanted[index]
        done.append(transcription)
        notes += [f"{shown(source)}: {note}" for note in transcription.notes]
        text = WRITERS[args.format](transcription)
        try:
            if target:
                write_text(target, text)
            else:
                with bar.aside():
                    named = f"{terminal(shown(source))}:\n" if len(wanted) > 1 else ""
                    say(named + terminal(text, lines=True))
        except OSError as error:
            if target is None:  # whoever reads the output has gone, or it has no room
                bar.close()
                raise
            late.append(f"{shown(source)}: {shown(str(target))} cannot be written ({error.strerror}).")
    bar.close()
    for note in notes:
        print(f"note: {terminal(note)}", file=sys.stderr)
    for failure in late:
        complain(failure)
    failed = len(failures) + len(late)
    if failed and len(args.files) > 1:
        print(f"{failed} of {len(args.files)} files failed", file=sys.stderr)
    if done:
        print(summary(done, time.perf_counter() - start), file=sys.stderr)
    return 2 if failed else 0


def say(text: str) -> None:
    """On stdout, whatever characters it can write."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), end="", flush=True)


def complain(failure: str) -> None:
    """One line on stderr."""
    print(f"error: {terminal(failure)}", file=sys.stderr)


def reason(file: str, error: Exception) -> str:
    """One line that names the file."""
    why = shown(" ".join(str(error).split())) or type(error).__name__
    return why if isinstance(error, InputError) else f"{shown(file)}: cannot be transcribed ({why[:200]})."


def todo(args: argparse.Namespace) -> tuple[list[tuple[str, Path | None]], list[str]]:
    """Each file with where its result goes (None: printed), without those that are done; and why others cannot be."""
    if args.batch_size < 1:
        raise InputError(f"--batch-size {args.batch_size}: expected at least 1.")
    if args.track < 1:
        raise InputError(f"--track {args.track}: expected 1 for the first audio track, 2 for the second, and so on.")
    failures = [failure for file in args.files if (failure := unreadable(file))]
    files = [file for file in args.files if not unreadable(file)]
    if args.output is None:
        if len(args.files) > 1 and args.format != "txt":
            raise InputError(f"several files as {args.format} need a folder: add --output DIR.")
        return [(file, None) for file in files], failures
    folder = Path(args.output)
    targets = [folder / f"{Path(file).stem}.{args.format}" for file in files]
    if len(set(targets)) < len(targets):
        twice = next(target for target in targets if targets.count(target) > 1)
        raise InputError(
            f"{shown(str(twice))}: would be written for several files of that name; transcribe them apart."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # not only after an hour of decoding
    except OSError as error:
        raise InputError(f"--output {folder}: cannot be written to ({error.strerror}).") from error
    wanted: list[tuple[str, Path | None]] = []
    for file, target in zip(files, targets, strict=True):
        try:
            if not is_there(target) or args.overwrite:
                wanted.append((file, target))
        except OSError as error:
            failures.append(f"{shown(file)}: its result cannot be named {shown(target.name)} ({error.strerror}).")
    return wanted, failures


def unreadable(file: str) -> str | None:
    """Why a file cannot be opened, found before any work."""
    try:
        mode = os.stat(file).st_mode
    except FileNotFoundError:
        return f"{shown(file)}: there is no such file."
    except (OSError, ValueError) as error:
        return f"{shown(file)}: cannot be opened ({getattr(error, 'strerror', None) or error})."
    if stat.S_ISDIR(mode):
        return f"{shown(file)}: is a folder; name the files in it."
    if not stat.S_ISREG(mode):
        return f"{shown(file)}: is a pipe or a device; expected a file."
    try:
        view(file, shown(file)).close_file()
    except InputError as error:  # a playlist, or a file that may not be read
        return str(error)
    return None


def is_there(target: Path) -> bool:
    """Raises OSError for a name that the folder cannot hold: too long, or of bytes that it does not take."""
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return True
    target.unlink()
    return False


def drafts(text: str) -> int | Literal["auto"]:
    """The value of --draft-tokens. Raises InputError for what is no number."""
    if text == "auto":
        return "auto"
    if not text.isdecimal():
        raise InputError(f"--draft-tokens {text}: expected auto or a whole number.")
    return int(text)


def load(main: str, assistant: str | None, device: str | None, precision: str):
    """The pair, on the GPU in half precision where there is one."""
    import torch

    from ..pair import Pair
    from ..precision import DTYPES, resolved

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    refuse_missing(device)
    dtype = DTYPES[resolved(precision, device, "--precision")]
    return Pair.from_pretrained(main, assistant, dtype=dtype, device=device)


def refuse_missing(device: str) -> None:
    """InputError for a device that torch does not know or that is not here."""
    import torch

    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"--device {device}: expected cpu, cuda or cuda:NUMBER.") from error
    gpus = torch.cuda.device_count()
    if found.type == "cuda" and not gpus:
        raise InputError(f"--device {device}: torch sees no GPU here; use --device cpu.")
    if found.type == "cuda" and (found.index or 0) >= gpus:
        raise InputError(f"--device {device}: torch sees {gpus} here; the last one is cuda:{gpus - 1}.")
    try:
        torch.empty(1, device=found).cpu()  # meta has nothing to copy
    except (RuntimeError, NotImplementedError, AssertionError, ImportError) as error:
        raise InputError(f"--device {device}: is not here, or torch was not built for it; use --device cpu.") from error


def summary(done, seconds: float) -> str:
    """Speed and acceptance of the whole call, reading files included."""
    audio = sum(transcription.seconds for transcription in done)
    drafted, accepted = (sum(getattr(t, name) for t in done) for name in ("drafted", "accepted"))
    files = "1 file" if len(done) == 1 else f"{len(done)} files"
    line = f"{files}, {audio:.1f} s of audio in {seconds:.1f} s: {audio / seconds:.1f}x real time"
    return line + (f"; {accepted} of {drafted} drafted tokens accepted" if drafted else "; nothing was drafted")


class Bar:
    """Seconds of audio transcribed, out of those of the files opened so far."""

    def __init__(self) -> None:
        self.tqdm: Any = None
        self.seconds: dict[int, float] = {}

    def at(self, index: int, seconds: float, total: float) -> None:
        """File `index` is transcribed up to `seconds` of `total`."""
        from tqdm import tqdm

        if self.tqdm is None:
            self.tqdm = tqdm(total=0, bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]")
        if index not in self.seconds:
            self.seconds[index] = 0.0
            self.tqdm.total += total
        self.tqdm.update(seconds - self.seconds[index])
        self.seconds[index] = seconds

    def aside(self):
        """Inside, stdout may be written to without breaking into the bar."""
        return nullcontext() if self.tqdm is None else self.tqdm.external_write_mode(file=sys.stdout)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        if self.tqdm is not None:
            self.tqdm.close()
