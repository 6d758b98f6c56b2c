"""The finished main's own greedy transcripts of the training windows, as Parquet, one row a window.

For greedy decoding these are the on-policy data: an assistant only ever sees the main's own prefixes. Each process
writes what it decodes at once in shards of its own, whole or absent, so a run that is stopped loses at most the windows
in flight; the shards become one file, in the windows' order, at the end.
"""

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from whisper_pair.batches import Encoding
from whisper_pair.config import Config
from whisper_pair.data import Window
from whisper_pair.decoding import Decoded, Engine, Options
from whisper_pair.errors import InputError
from whisper_pair.runs import Stage
from whisper_pair.states import EncoderCache
from whisper_pair.text import Normalizer, error_rates

FILE = "labels.parquet"


@dataclass(frozen=True)
class Labeller:
    """What it takes to turn a window into a row."""

    engine: Engine
    encoding: Encoding
    cache: EncoderCache | None
    tokenizer: object
    config: Config
    normalizer: Normalizer
    options: Options

    def rows(self, windows: Sequence[Window], numbers: Sequence[int], device) -> list[dict]:
        """Labels of some windows; a window whose audio cannot be read gives no row."""
        kept, pcm = [], []
        for window, number in zip(windows, numbers, strict=True):
            try:
                pcm.append(window.pcm()[: self.encoding.log_mel.samples])
                kept.append((window, number))
            except InputError as error:
                print(f"skipped: {error}", flush=True)
        if not kept:
            return []
        batch = {
            "waves": self.encoding.log_mel.pad(pcm),
            "rows": ([], list(range(len(kept)))),
            "samples": [number for _, number in kept],
        }
        states = self.encoding.states(batch, device)
        decoded = self.engine.decode(encoder_states=states, options=self.options)
        return [self._row(window, number, d) for (window, number), d in zip(kept, decoded, strict=True)]

    def _row(self, window: Window, number: int, decoded: Decoded) -> dict:
        text = self.tokenizer.decode(decoded.tokens, skip_special_tokens=True).strip()
        human = window.text
        error = None
        if human is not None:
            error = error_rates([human], [text], self.config.language, self.normalizer)[0].rate
        raw = text.encode()
        return {
            "window": number,
            "key": window.key,
            "clips": [clip.name for clip in window.clips],
            "seconds": window.seconds,
            "tokens": decoded.tokens,
            "finished": decoded.finished,
            "text": text,
            "human_text": human,
            "error": error,
            "mean_log_probability": decoded.mean_log_probability,
            "compression_ratio": len(raw) / len(zlib.compress(raw)) if raw else 1.0,
        }


def label(labeller: Labeller, windows: Sequence[Window], stage: Stage, accelerator) -> None:
    """Fills `stage.folder` with labels of all windows, going on where an earlier call stopped."""
    import pyarrow.parquet
    from tqdm import tqdm

    done = {row["window"] for row in _shards(stage.work)}
    accelerator.wait_for_everyone()  # nobody writes a shard before everybody has read those there are
    missing = [number for number in range(len(windows)) if number not in done]
    mine = missing[accelerator.process_index :: accelerator.num_processes]
    size = labeller.options.batch_size
    bar = tqdm(total=len(mine), desc="labelling", unit="window", disable=not accelerator.is_main_process)
    for start in range(0, len(mine), size):
        numbers = mine[start : start + size]
        rows = labeller.rows([windows[number] for number in numbers], numbers, accelerator.device)
        if rows:
            target = stage.work / f"shard-{rows[0]['window']:08d}.parquet"
            aside = target.with_suffix(".partial")
            pyarrow.parquet.write_table(_table(rows), aside)
            aside.replace(target)
        bar.update(len(numbers))
    bar.close()
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        rows = sorted(_shards(stage.work), key=lambda row: row["window"])
        if not rows:
            raise InputError("data.train: no window's audio could be read; see the clips named above.")
        pyarrow.parquet.write_table(_table(rows), stage.work / FILE)
        stage.finish()
        for shard in stage.folder.glob("shard-*"):  # only now: stopped before, they are what the labels are made from
            shard.unlink()
    accelerator.wait_for_everyone()


def read_labels(folder: Path) -> list[dict]:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(folder / FILE).to_pylist()


def trusted(rows: Sequence[dict], max_error: float | None) -> tuple[list[dict], Counter[str]]:
    """The labels to train on, and why the others are left out."""
    kept, dropped = [], Counter()
    for row in rows:
        if not row["finished"]:
            dropped["without an end"] += 1
        elif max_error is not None and row["error"] is not None and row["error"] > max_error:
            dropped[f"error above {max_error:g}"] += 1
        else:
            kept.append(row)
    if not kept:
        why = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
        raise InputError(
            f"labels: none can be trusted ({why}); train the main longer or raise distill.max_label_error."
        )
    return kept, dropped


def _shards(folder: Path) -> list[dict]:
    import pyarrow.parquet

    rows = []
    for path in sorted(folder.glob("shard-*.parquet")):
        try:
            rows += pyarrow.parquet.read_table(path).to_pylist()
        except (OSError, ValueError):  # cut by a full disk or a loss of power: its windows are labelled again
            print(f"{path}: is damaged; its windows are labelled again", flush=True)
            path.unlink(missing_ok=True)
    return rows


def _table(rows: list[dict]):
    import pyarrow as pa

    schema = pa.schema(
        {
            "window": pa.int64(),
            "key": pa.string(),
            "clips": pa.list_(pa.string()),
            "seconds": pa.float64(),
            "tokens": pa.list_(pa.int32()),
            "finished": pa.bool_(),
            "text": pa.string(),
            "human_text": pa.string(),
            "error": pa.float64(),
            "mean_log_probability": pa.float64(),
            "compression_ratio": pa.float64(),
        }
    )
    return pa.Table.from_pylist(rows, schema)


def label_options(config: Config, language: str | None) -> Options:
    """Plain greedy, as the main will decode."""
    return Options(
        language=language,
        task=config.task,
        draft_tokens=0,
        batch_size=config.distill.label_batch_size,
        log_probabilities=True,
    )
