"""The finished main's own greedy transcripts of the training windows, as Parquet, one row a window.

For greedy decoding these are the on-policy data: an assistant only ever sees the main's own prefixes. A batch holds
the same windows whatever the number of processes and restarts, and its rows are written at once in a shard of its own,
whole or absent: a run that is killed loses at most the batch in flight, and ends with the very rows of one that was
not. The shards become one file, in the windows' order, at the end.
"""

import logging
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from whisper_pair.config import Config
from whisper_pair.data import Window
from whisper_pair.decoding import Decoded, Engine, Options
from whisper_pair.errors import InputError
from whisper_pair.runs import Throughput, files, stop_on_signals
from whisper_pair.text import Normalizer, error_rates, text_of
from whisper_pair.training import FrozenEncoder, TargetTokens

logger = logging.getLogger("whisper_pair.distill")

FILE = "labels.parquet"


@dataclass(frozen=True)
class Labeller:
    """What it takes to turn a window into a row."""

    engine: Engine
    encoding: FrozenEncoder
    targets: TargetTokens
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
                logger.warning("skipped: %s", error)
        if not kept:
            return []
        batch = {
            "waves": self.encoding.log_mel.pad(pcm),
            "rows": ([], list(range(len(kept)))),
            "samples": [number for _, number in kept],
        }
        states = self.encoding.states(batch, device, exact=True)
        rows = []
        for stamped in (False, True):  # one call of the engine decodes with timestamps or without
            some = [i for i, (window, _) in enumerate(kept) if window.timestamps == stamped]
            if some:
                prompts = [self.targets.prompt(kept[i][0]) or None for i in some]
                options = replace(self.options, timestamps=stamped)
                decoded = self.engine.decode(encoder_states=states[some], options=options, prompts=prompts)
                rows += [self._row(*kept[i], d) for i, d in zip(some, decoded, strict=True)]
        return rows

    def _row(self, window: Window, number: int, decoded: Decoded) -> dict:
        text = text_of(self.targets.tokenizer, decoded.tokens).strip()
        human = window.text
        error = None
        if human is not None:
            error = error_rates([human], [text], self.config.text_language, self.normalizer)[0].rate
        raw = text.encode()
        return {
            "window": number,
            "key": window.key,
            "clips": [clip.name for clip in window.clips],
            "starts": [clip.start for clip in window.clips],
            "seconds": window.seconds,
            "prefix": decoded.prompt,
            "tokens": decoded.tokens,
            "finished": decoded.finished,
            "text": text,
            "human_text": human,
            "error": error,
            "mean_log_probability": decoded.mean_log_probability,
            "compression_ratio": len(raw) / len(zlib.compress(raw)) if raw else 1.0,
        }


def label_windows(labeller: Labeller, windows: Sequence[Window], folder: Path, accelerator) -> None:
    """Fills `folder` with labels of all windows, going on where an earlier call stopped."""
    from tqdm import tqdm

    size, finished = labeller.options.batch_size, (folder / FILE).is_file()
    starts = [] if finished else [s for s in range(0, len(windows), size) if not _whole(_shard(folder, s, size))]
    accelerator.wait_for_everyone()  # nobody writes a shard before everybody has seen those there are
    mine = starts[accelerator.process_index :: accelerator.num_processes]

    def count(firsts: Iterable[int]) -> int:
        return sum(min(size, len(windows) - start) for start in firsts)

    def kept() -> str:
        there = (start for start in range(0, len(windows), size) if _shard(folder, start, size).is_file())
        return f"labels of {count(there)} of {len(windows)} windows are kept"

    silent, work = not accelerator.is_main_process, Throughput()
    with stop_on_signals(kept), tqdm(total=count(mine), desc="labelling", unit="window", disable=silent) as bar:
        for start in mine:
            begun, numbers = time.perf_counter(), range(start, min(start + size, len(windows)))
            rows = labeller.rows([windows[number] for number in numbers], numbers, accelerator.device)
            write_table(_shard(folder, start, size), rows)
            work.add(len(numbers), sum(len(row["tokens"]) for row in rows), time.perf_counter() - begun)
            bar.update(len(numbers))
        accelerator.wait_for_everyone()
    if work.batches:
        logger.info("labelling: %s", work)
    if accelerator.is_main_process:
        if work.batches:
            work.save(folder, accelerator.num_processes)
        if not finished:
            shards = [_shard(folder, start, size) for start in range(0, len(windows), size)]
            write_table(folder / FILE, sorted(_rows(shards), key=lambda row: row["window"]))
        for shard in folder.glob("shard-*"):  # only now: until the whole stands, they are all there is
            shard.unlink()
    accelerator.wait_for_everyone()


def read_labels(folder: Path) -> list[dict]:
    return _rows([folder / FILE])


def _shard(folder: Path, start: int, size: int) -> Path:
    """Named for its windows: shards of another batch size are not taken for these."""
    return folder / f"shard-{size:04d}-{start:08d}.parquet"


def _whole(shard: Path) -> bool:
    """False also for one that a full disk or a loss of power has cut: Parquet ends with what it holds."""
    import pyarrow.parquet

    if not shard.is_file():
        return False
    try:
        pyarrow.parquet.read_metadata(shard)
    except (OSError, ValueError):
        logger.warning("%s: is damaged; its windows are labelled again", shard)
        return False
    return True


def _rows(paths: Sequence[Path]) -> list[dict]:
    import pyarrow.parquet

    return [row for path in paths for row in pyarrow.parquet.read_table(path).to_pylist()]


def write_table(path: Path, rows: Sequence[dict]) -> None:
    """Whole or absent; no rows where none of the windows could be read."""
    import pyarrow as pa

    files.write_table(path, pa.Table.from_pylist(list(rows), _schema()))


def _schema():
    import pyarrow as pa

    return pa.schema(
        {
            "window": pa.int64(),
            "key": pa.string(),
            "clips": pa.list_(pa.string()),
            "starts": pa.list_(pa.float64()),
            "seconds": pa.float64(),
            "prefix": pa.list_(pa.int32()),
            "tokens": pa.list_(pa.int32()),
            "finished": pa.bool_(),
            "text": pa.string(),
            "human_text": pa.string(),
            "error": pa.float64(),
            "mean_log_probability": pa.float64(),
            "compression_ratio": pa.float64(),
        }
    )


def label_options(config: Config) -> Options:
    """Plain greedy, as the main will decode."""
    return Options(
        language=config.language,
        task=config.task,
        draft_tokens=0,
        batch_size=config.distill.label_batch_size,
        log_probabilities=True,
    )
