"""`whisper-pair transcribe FILES...`: text and subtitles of audio and video files of any length."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from ..errors import InputError
from ..escaping import terminal
from ..files import write_text
from ..hub import add_pair, pair_of
from ..languages import code_of

SUMMARY = "transcribe audio and video files of any length with a pair"

FORMATS = ("txt", "srt", "vtt", "tsv", "json")
FALLBACK = {  # Whisper's own: hotter while a window repeats itself or is unlikely; silence is left out
    "temperature": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    "compression_ratio_threshold": 1.35,
    "log_probability_threshold": -1.0,
    "no_speech_threshold": 0.6,
}


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="audio or video")
    add_pair(parser)
    parser.add_argument("--language", help="nl, Dutch ...; unset: detected in each file's first window")
    parser.add_argument("--task", default="transcribe", choices=("transcribe", "translate"))
    parser.add_argument("--format", default="txt", choices=FORMATS)
    parser.add_argument("--output", metavar="DIR", help="where the results go, one file each; unset: printed")
    parser.add_argument("--overwrite", action="store_true", help="do files anew whose results are in DIR already")
    parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="windows decoded at once (8)")
    parser.add_argument("--draft-tokens", default="auto", metavar="N", help="drafted a round (auto); 0: the main alone")
    parser.add_argument("--chunked", action="store_true", help="cut at quiet places: faster for few, long files")
    parser.add_argument(
        "--no-timestamps", action="store_true", help="for a main that has forgotten them; implies --chunked"
    )
    parser.add_argument("--words", action="store_true", help="when each word was said; subtitles by it")
    parser.add_argument(
        "--fallback", action="store_true", help="sample again where the text repeats itself; skip silence"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ...; unset: the GPU where there is one")
    add_precision(parser)


def add_precision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "fp32", "bf16", "fp16"),
        help="auto: bf16 on a GPU that has it, else fp16; fp32 on a CPU",
    )


def run(args: argparse.Namespace) -> int:
    wanted = todo(args)
    main, assistant = pair_of(args)
    draft_tokens = drafts(args.draft_tokens)
    language = None if args.language is None else code_of(args.language, "--language")
    if not wanted:
        print(f"{args.output}: all {len(args.files)} are there already; --overwrite does them anew", file=sys.stderr)
        return 0
    pair = load(main, assistant, args.device, args.precision)

    from ..decoding import Options
    from ..longform import transcribe
    from ..longform.subtitles import FORMATS as WRITERS

    chunked = args.chunked or args.no_timestamps
    options = Options(
        language=language,
        task=args.task,
        timestamps=not args.no_timestamps,
        batch_size=args.batch_size if chunked else min(args.batch_size, len(wanted)),
        draft_tokens=draft_tokens if assistant else 0,
        **(FALLBACK if args.fallback else {}),
    )
    bar, failures, heard, start = Bar(), [], [], time.perf_counter()
    found = transcribe(
        pair,
        [source for source, _ in wanted],
        options,
        chunked=chunked,
        word_times=args.words,
        on_progress=bar.at,
        on_failure=lambda index, error: failures.append(error),
    )
    for index, transcription in found:
        source, target = wanted[index]
        heard.append(transcription)
        text = WRITERS[args.format](transcription)
        if target:
            write_text(target, text)
        else:
            with bar.aside():
                named = f"{terminal(source)}:\n" if len(wanted) > 1 else ""
                print(named + terminal(text, lines=True), end="", flush=True)
    bar.close()
    for error in failures:
        print(f"error: {error}", file=sys.stderr)
    if heard:
        print(summary(heard, time.perf_counter() - start), file=sys.stderr)
    return 2 if failures else 0


def todo(args: argparse.Namespace) -> list[tuple[str, Path | None]]:
    """Each file with where its result goes (None: printed), without those that are done."""
    for file in args.files:
        if Path(file).is_dir():
            raise InputError(f"{file}: is a folder; name the files in it.")
        if not Path(file).is_file():
            raise InputError(f"{file}: there is no such file.")
    if args.batch_size < 1:
        raise InputError(f"--batch-size {args.batch_size}: expected at least 1.")
    if args.output is None:
        if len(args.files) > 1 and args.format != "txt":
            raise InputError(f"several files as {args.format} need a folder: add --output DIR.")
        return [(file, None) for file in args.files]
    folder = Path(args.output)
    targets = [folder / f"{Path(file).stem}.{args.format}" for file in args.files]
    if len(set(targets)) < len(targets):
        twice = next(target for target in targets if targets.count(target) > 1)
        raise InputError(f"{twice}: would be written for several files of that name; transcribe them apart.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # not only after an hour of decoding
    except OSError as error:
        raise InputError(f"--output {folder}: cannot be written to ({error.strerror}).") from error
    return [(f, target) for f, target in zip(args.files, targets, strict=True) if args.overwrite or not target.exists()]


def drafts(text: str) -> int | str:
    if text != "auto" and not text.isdecimal():
        raise InputError(f"--draft-tokens {text}: expected auto or a whole number.")
    return text if text == "auto" else int(text)


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


def summary(heard, seconds: float) -> str:
    """Speed and acceptance of the whole call, reading files included."""
    audio = sum(transcription.seconds for transcription in heard)
    drafted, accepted = (sum(getattr(t, name) for t in heard) for name in ("drafted", "accepted"))
    files = "1 file" if len(heard) == 1 else f"{len(heard)} files"
    told = f"{files}, {audio:.1f} s of audio in {seconds:.1f} s: {audio / seconds:.1f}x real time"
    return told + (f"; {accepted} of {drafted} drafted tokens accepted" if drafted else "; nothing was drafted")


class Bar:
    """Seconds of audio heard, out of those of the files opened so far."""

    def __init__(self):
        self.tqdm = None
        self.heard: dict[int, float] = {}

    def at(self, index: int, seconds: float, total: float) -> None:
        from tqdm import tqdm

        if self.tqdm is None:
            self.tqdm = tqdm(total=0, bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]")
        if index not in self.heard:
            self.heard[index] = 0.0
            self.tqdm.total += total
        self.tqdm.update(seconds - self.heard[index])
        self.heard[index] = seconds

    def aside(self):
        return self.tqdm.external_write_mode(file=sys.stdout)

    def close(self) -> None:
        if self.tqdm is not None:
            self.tqdm.close()
