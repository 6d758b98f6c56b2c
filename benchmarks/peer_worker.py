"""One engine of benchmarks/peers.py, in a process of its own: two of them bring a package of the same name.

It reads one line of JSON, {"engine", "main", "assistant", "clips", ...}, loads what it says, and answers with a line.
Then for each further line, {"clips": how many, or null for all}, it decodes the first clips one at a time, and answers
{"seconds": [...], "tokens": [[...], ...]}.
The clock runs from the log-mel spectrogram, which waits on the host, to the tokens: encoder, prefix and all rounds. On
a machine that others use too, `clock` "cpu" takes the processor time of all of the process's threads instead of the
wall clock's: with one thread the two are equal on an idle machine.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.stopwatch import clock_of
from whisper_pair.decoding import Options, SpecialTokens

Decode = Callable[[np.ndarray], list[int]]  # log-mel [1, mel, frames] -> tokens after the prefix


def ours(job: dict) -> Decode:
    from whisper_pair import Pair

    pair = Pair.from_pretrained(job["main"], job["assistant"], dtype=torch.float32)
    options = Options(job["language"], batch_size=1, draft_tokens=job["draft_tokens"])
    return lambda features: pair.engine.decode(torch.from_numpy(features), options)[0].tokens


def transformers(job: dict) -> Decode:
    from whisper_pair.checkpoints import load_draft, load_main

    main = load_main(Path(job["main"]), torch.float32)
    more = {}
    if job["assistant"] is not None:
        assistant = load_draft(Path(job["assistant"]), torch.float32)
        assistant.generation_config.num_assistant_tokens = job["draft_tokens"]
        assistant.generation_config.num_assistant_tokens_schedule = "constant"
        more = {"assistant_model": assistant}
    prefix = 4

    def decode(features: np.ndarray) -> list[int]:
        with torch.inference_mode():
            found = main.generate(
                torch.from_numpy(features), language=job["language"], task="transcribe", num_beams=1,
                do_sample=False, return_dict_in_generate=True, force_unique_generate_call=True, **more,
            )  # fmt: skip
        return found.sequences[0].tolist()[prefix:]

    return decode


def ctranslate2(job: dict) -> Decode:
    """CTranslate2, as faster-whisper calls it; with an assistant, the CrisperWhisper fork."""
    import ctranslate2

    def loaded(folder: str):
        threads = torch.get_num_threads()
        return ctranslate2.models.Whisper(folder, device="cpu", compute_type=job["type"], intra_threads=threads)

    main = loaded(job["main"])
    draft = None if job["assistant"] is None else loaded(job["assistant"])
    prefix, suppressed = job["prefix"], job["suppressed"]

    def greedy(features: np.ndarray) -> list[int]:
        given = ctranslate2.StorageView.from_array(features)
        (row,) = main.generate(given, prompts=[prefix], beam_size=1, suppress_tokens=suppressed or None)
        return list(row.sequences_ids[0])

    def speculative(features: np.ndarray) -> list[int]:
        encoded = main.encode(ctranslate2.StorageView.from_array(features))
        theirs = encoded if job["shared_encoder"] else ctranslate2.StorageView.from_array(features)
        drafts = job["draft_tokens"]
        bounds = {"min_speculative_tokens": 1, "max_speculative_tokens": 16} if drafts == "auto" else {}
        return list(
            main.generate_speculative(
                draft, encoded, theirs, prompt=prefix, num_speculative_tokens=4 if drafts == "auto" else drafts,
                max_length=job["room"], eot_id=job["end"], suppress_tokens=suppressed, **bounds,
            )
        )  # fmt: skip

    return greedy if draft is None else speculative


ENGINES = {"ours": ours, "transformers": transformers, "ctranslate2": ctranslate2}


def prompt_of(special: SpecialTokens, language: str) -> dict:
    """What CTranslate2 must know of the vocabulary."""
    prefix = special.prefix(special.language_token(language), "transcribe", False, None)
    room = special.limit(len(prefix), None) - len(prefix)
    return {"prefix": prefix, "suppressed": list(special.suppressed), "end": special.end, "room": room}


def text(tokens: list[int], end: int) -> list[int]:
    """Without the end of text, which some engines leave out."""
    return tokens[: tokens.index(end)] if end in tokens else tokens


def main() -> None:
    job = json.loads(sys.stdin.readline())
    torch.set_num_threads(job["threads"])
    decode = ENGINES[job["engine"]](job)
    clips = [features[None] for features in np.load(job["clips"])]
    clock = clock_of(job["clock"])
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        seconds, tokens = [], []
        for clip in clips[: json.loads(line)["clips"]]:
            began = clock()
            found = decode(clip)
            seconds.append(clock() - began)
            tokens.append(text(found, job["end"]))
        print(json.dumps({"seconds": seconds, "tokens": tokens}), flush=True)


if __name__ == "__main__":
    main()
