"""Short windows that are longer than those of training: clips joined one after another, in full windows and in short.

    python benchmarks/joined_windows.py --main short/LoRA-and-encoder-half-short-0/main --audio dutch/test --language nl

Training on short windows takes clips alone, so a corpus of short clips never shows a main windows of 20 s, though
decoding makes them: in chunks, and where speech alone is decoded. Test clips are joined up to a few lengths, and the
main decodes them with and without the rest of the 30 s.
"""

import argparse
import sys
from pathlib import Path
from statistics import fmean

import torch
import transformers

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import write_result
from benchmarks.short_training import in_windows, score
from whisper_pair.audio import LogMel
from whisper_pair.checkpoints import load_main, load_processor
from whisper_pair.config import Data, Source
from whisper_pair.data import Window, load_test_clips, pack
from whisper_pair.decoding import window_frames
from whisper_pair.training import DECODING_MARGIN

SECONDS = (10.0, 18.0, 28.0)  # that clips are joined up to
LEAST = 0.6  # of them, that are left out otherwise


def rows_of(windows: list[Window], main, processor, language: str) -> list[dict]:
    """The error rates over the same windows, of one length and as long as their sound."""
    full, log_mel = main.config.max_source_positions, LogMel(processor.feature_extractor)
    features = torch.cat([log_mel.features([window.pcm()], main.device) for window in windows])
    kinds = {
        "full": [full] * len(windows),
        "short": [window_frames(window.seconds, DECODING_MARGIN, full) for window in windows],
    }
    found = []
    for kind, frames in kinds.items():
        decoded = in_windows(main, features, frames, language, limit=None)
        judged = score(windows, decoded, language, processor.tokenizer, 0.0)
        found.append({"kind": kind, "frames": fmean(frames), "wer": judged.wer, "loops": judged.loops})
    return found


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--main", type=Path, required=True, help="a main that was trained on short windows")
    parser.add_argument("--audio", type=Path, required=True, help="a folder of clips with metadata.csv")
    parser.add_argument("--language", required=True, help="Whisper's code")
    parser.add_argument("--seconds", type=float, nargs="+", default=SECONDS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--machine", help="a suffix of the result's name")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(arguments)
    transformers.logging.set_verbosity_error()
    processor, model = load_processor(args.main), load_main(args.main, torch.float32, args.device)
    data = Data((), (), (Source(folder=str(args.audio)),), unpacked_share=0.0, timestamps=0.0, previous_text=0.0)
    clips = load_test_clips(data.test, data, LogMel(processor.feature_extractor).seconds, "test")
    rows = []
    for seconds in args.seconds:
        windows = [one for one in pack(clips, data, seconds, 0) if one.seconds >= LEAST * seconds]
        about = {"joined_up_to": seconds, "windows": len(windows)}
        rows += [about | row for row in rows_of(windows, model, processor, args.language)]
        print(*rows[-2:], sep="\n", flush=True)
    longest = max(clip.seconds for clip in clips)
    return write_result("joined_windows", args, arguments or sys.argv[1:], rows, {}, longest_clip_seconds=longest)


if __name__ == "__main__":
    main()
