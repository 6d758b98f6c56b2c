"""What the share of training windows with timestamps does to a fine-tuned main: the default of data.timestamps.

    python benchmarks/dutch_speech.py outputs/dutch-speech
    python benchmarks/timestamps.py configs/real-dutch-base.yaml --runs outputs/timestamps --shares 0 0.25 0.5 0.75 1 \
        --machine cpu

For the checkpoint as it is, and for a main fine-tuned at each share, on the config's test clips:

- error rate without timestamps and with them, each clip by itself;
- boundary error: test clips of one speaker are joined with silences into windows, so that their true ends are known.
  Each true end is compared with the nearest end of a segment that the main writes. Segments a clip says whether the
  main writes as many segments as there are clips;
- error rate of long recordings, as `transcribe` decodes them: by Whisper's sequential algorithm, which goes by
  timestamps, and at share 0 in chunks without them;
- texts that repeat themselves, and segments of long recordings that do: one such loop costs as many errors as dozens of
  clips.

Windows are encoded in bfloat16 and decoded in float32; long recordings are in float32 throughout. A share with a row in
the result is not trained again.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
import transformers
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import result_file, write_result
from whisper_pair import Pair, Transcription
from whisper_pair.audio import LogMel
from whisper_pair.checkpoints import checkpoint_folder, load_main, load_processor
from whisper_pair.config import Config, load_config
from whisper_pair.data import Clip, Window, load_test_clips, pack
from whisper_pair.decoding import Engine, Options, encode
from whisper_pair.text import Normalizer, compression_ratio, error_rates, pooled, text_of

STEP = 0.02  # seconds between two timestamp tokens
LOOP = 2.4  # bytes of a text, raw over compressed
LONG_WINDOWS = 4.0  # length of a long recording, in windows


@dataclass(frozen=True)
class TestSpeech:
    """What every main is measured on."""

    config: Config
    clips: Sequence[Clip]
    joined: Sequence[Window]  # full windows of several clips, whose true ends are known
    long: Sequence[Window]  # recordings of several windows

    @classmethod
    def of(cls, config: Config, window_seconds: float) -> "TestSpeech":
        clips = load_test_clips(config.data.test, config.data, window_seconds, "test")
        joined = [window for window in joined_clips(clips, config, window_seconds) if len(window.clips) > 1]
        long = long_recordings(clips, config, window_seconds)
        if not joined or not long:
            raise SystemExit("data.test: too few short clips of one speaker to join; name another test set.")
        return cls(config, clips, joined, long)


def joined_clips(clips: Sequence[Clip], config: Config, seconds: float) -> list[Window]:
    """Windows of so many seconds, as full of clips as they may be."""
    plain = replace(config.data, pack=True, unpacked_share=0.0, timestamps=0.0, previous_text=0.0)
    return pack(clips, plain, seconds, 0)


def long_recordings(clips: Sequence[Clip], config: Config, window_seconds: float) -> list[Window]:
    """The clips one after another, for several windows of Whisper's."""
    joined = joined_clips(clips, config, LONG_WINDOWS * window_seconds)
    return [window for window in joined if window.seconds > window_seconds]


def transcribed(main_at: Path, recordings: Sequence[Window], config: Config) -> list[Transcription]:
    """By the main alone."""
    return Pair.from_pretrained(main_at, None).transcribe_long(
        [window.pcm() for window in recordings],
        language=config.language, task=config.task, draft_tokens=0, **long_form_options(main_at),
    )  # fmt: skip


def measured(main_at: Path, speech: TestSpeech) -> dict[str, float]:
    """A main's figures."""
    config, main, processor = speech.config, load_main(main_at, torch.float32), load_processor(main_at)
    engine, log_mel = Engine(main), LogMel(processor.feature_extractor)
    normalizer = Normalizer.of(config.text_language, processor.tokenizer)

    def encoded(audio: list) -> Tensor:
        states = []
        for start in range(0, len(audio), 32):  # bounds the spectrograms held at once
            with torch.autocast("cpu", torch.bfloat16):
                states.append(encode(main.model.encoder, log_mel.features(audio[start : start + 32])).float())
        return torch.cat(states)

    def decoded(states: Tensor, timestamps: bool) -> list[list[int]]:
        options = Options(config.language, config.task, timestamps, draft_tokens=0, batch_size=8)
        return [row.tokens for row in engine.decode(encoder_states=states, options=options)]

    def rate(references: list[str | None], texts: list[str]) -> float:
        return pooled(error_rates([text or "" for text in references], texts, config.text_language, normalizer)).rate

    states = encoded([clip.read() for clip in speech.clips])
    references = [clip.text for clip in speech.clips]
    plain, stamped = (
        [text_of(processor.tokenizer, tokens) for tokens in decoded(states, timestamps)] for timestamps in (False, True)
    )
    tokens = decoded(encoded([window.pcm() for window in speech.joined]), True)
    errors, segments = boundary_errors(speech.joined, tokens, engine.special.timestamps)
    transcriptions = transcribed(main_at, speech.long, config)
    return {
        "error_rate": rate(references, plain),
        "error_rate_with_timestamps": rate(references, stamped),
        "boundary_error_ms": 1000 * sum(errors) / len(errors),
        "boundaries_within_200_ms": sum(error <= 0.2 for error in errors) / len(errors),
        "segments_a_clip": segments / sum(len(window.clips) for window in speech.joined),
        "error_rate_long": rate([w.text for w in speech.long], [found.text for found in transcriptions]),
        "loops": sum(map(loops, plain)),
        "loops_with_timestamps": sum(map(loops, stamped)),
        "loops_long": sum(loops(segment.text) for found in transcriptions for segment in found.segments),
    }


def loops(text: str) -> bool:
    """Whether a text repeats itself, by Whisper's own bound."""
    return compression_ratio(text) > LOOP


def long_form_options(main_at: Path) -> dict[str, bool]:
    """By what the main was trained to do: without timestamps it decodes chunks."""
    from whisper_pair.checkpoints import Capabilities

    trained = Capabilities.load(main_at)
    return {"timestamps": False, "chunked": True} if trained is not None and not trained.writes_timestamps else {}


def boundary_errors(
    windows: Sequence[Window], tokens: Sequence[Sequence[int]], timestamps: range
) -> tuple[list[float], int]:
    """Seconds from each clip's true end to the nearest end of a written segment, and how many segments were written.

    A window for which the main wrote no segment counts with its whole length.
    """
    errors, count = [], 0
    for window, row in zip(windows, tokens, strict=True):
        ends = segment_ends(row, timestamps)
        count += len(ends)
        for _, true_end in window.times:
            errors.append(min((abs(end - true_end) for end in ends), default=window.seconds))
    return errors, count


def segment_ends(tokens: Sequence[int], timestamps: range) -> list[float]:
    """Seconds at which segments end: of the timestamp tokens that follow text."""
    return [
        timestamps.index(token) * STEP
        for before, token in pairwise(tokens)
        if token in timestamps and before not in timestamps
    ]


def fine_tuned(config: str, overrides: list[str], share: float, output: Path) -> Path:
    """The main of a share, trained where it is not there yet."""
    given = [*overrides, f"data.timestamps={share:g}", f"output={output}"]
    command = [sys.executable, "-m", "whisper_pair.stages.train", config, *given]
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
        raise SystemExit(f"share {share:g}: training failed; see its messages above.")
    return output / "main"


def targets(rows: list[dict]) -> dict[str, dict]:
    """Of the share that is the default, against training without timestamps."""
    by_share = {row["share"]: row for row in rows}
    default = load_default()
    if default not in by_share or 0.0 not in by_share:
        return {}
    chosen, without = by_share[default], by_share[0.0]
    goals = {
        "points of error rate that timestamps in training cost": (
            0.5, 100 * (chosen["error_rate"] - without["error_rate"])
        ),
        "points of error rate that writing timestamps costs": (
            1.0, 100 * (chosen["error_rate_with_timestamps"] - chosen["error_rate"])
        ),
        "boundary error in ms": (200.0, chosen["boundary_error_ms"]),
    }  # fmt: skip
    return {
        f"share {default:g}: {name}": {"target": target, "reached": reached, "higher_is_better": False}
        for name, (target, reached) in goals.items()
    }


def load_default() -> float:
    """data.timestamps where a config does not name it."""
    from whisper_pair.config import Data

    return Data((), (), ()).timestamps


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value")
    parser.add_argument("--runs", type=Path, required=True, help="the folder that receives every main")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.75, 1.0])
    parser.add_argument("--device", default="cpu", choices=["cpu"], help="that the figures are measured on")
    parser.add_argument("--machine", help="a word for the machine, in the result's name")
    parser.add_argument("--out", type=Path, help="the result's file, elsewhere than benchmarks/results")
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parser.parse_intermixed_args(arguments)
    transformers.logging.set_verbosity_error()
    config = load_config(args.config, args.overrides)
    start = checkpoint_folder(config.model, config.revision)
    speech = TestSpeech.of(config, LogMel(load_processor(start).feature_extractor).seconds)
    out = result_file("timestamps", args)
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"] if out.is_file() else []
    done = {row["share"] for row in rows}
    result: dict = {}
    for share in [None, *args.shares]:  # None: before fine-tuning
        if share not in done:
            at = start if share is None else fine_tuned(args.config, args.overrides, share, args.runs / f"{share:g}")
            rows.append({"share": share, **measured(at, speech)})
            print(json.dumps(rows[-1]), flush=True)
        result = write_result("timestamps", args, arguments, rows, targets(rows), data=data_of(speech))
    return result


def data_of(speech: TestSpeech) -> dict[str, float]:
    """How much is measured."""
    boundaries = sum(len(window.clips) for window in speech.joined)
    seconds = sum(clip.seconds for clip in speech.clips)
    return {"clips": len(speech.clips), "seconds": seconds, "boundaries": boundaries, "recordings": len(speech.long)}


if __name__ == "__main__":
    main()
