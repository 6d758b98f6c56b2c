""" "auto" replayed without a model: recorded matches against measured round times, in the engine's own `DraftChoice`.

    python benchmarks/replay.py run                                                  # -> results/replay.json
    python benchmarks/replay.py record outputs/demo --name demo --source "what it is"  # -> matches/demo.json

For greedy decoding, where the assistant agrees with the main's own text decides every round of every draft length
(whisper_pair/decoding/acceptance.py). So a call is replayed exactly: windows enter a batch, rows end and are refilled,
each round takes what a round of that batch size and draft length took on the machine. What "auto" takes is set against
the best fixed draft length, the best in hindsight for the same windows. `auto` knows what rounds cost, as on a machine
where it has decoded before; `first_call` learns it from its own rounds. The encoder, which all pay, is left out.

A file of matches, `benchmarks/matches/NAME.json`, is `{"source": what was decoded, "utterances": [...]}`. An utterance
is `{"agrees": "1101", "ends": [3], "limit": 444}`: a character for each of the main's tokens, 1 where the assistant
would have chosen it; the positions at which the assistant would have ended the text; and the tokens that the length
limit allows. `record` makes one from an evaluation's `utterances.parquet`. Scripted matches agree independently.

Round times are the rows "decode step" of a result of benchmarks/decoding.py.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.pair import lines
from benchmarks.results import RESULTS, write_result
from whisper_pair.decoding import TokenMatches, accepted_per_round, agreement, between
from whisper_pair.decoding.draft_choice import DraftChoice, Relative
from whisper_pair.decoding.draft_length import LONGEST, MEASURED, best_draft_tokens, relative
from whisper_pair.decoding.round_times import CallTimes, RoundTimes
from whisper_pair.decoding.tree import DraftTree

MATCHES = Path(__file__).parent / "matches"
MACHINES = {"H100, large-v3": "decoding-h100.json", "CPU, demo": "decoding-cpu.json"}
ALPHAS = (0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97)
TOKENS = (24, 96)  # of a scripted window: about 6 s and 23 s of speech
BATCH_SIZES = (1, 4, 16)
CALLS = 6  # of scripted windows, each with coins of its own
LEAST_WINDOWS = 24  # of a call
BATCHES = 3  # of a call, where that is more
LIMIT = 444  # tokens of a window at most: 448 positions without the prefix
TARGET = 1.03


@dataclass(frozen=True)
class Machine:
    """Seconds of a round by batch size and draft length, as measured; between them on straight lines."""

    name: str
    times: dict[int, dict[int, float]]  # batch size -> draft length -> seconds
    bucketed: bool  # rounds are captured graphs: few draft lengths, and batches padded to a power of two

    @classmethod
    def of(cls, name: str, path: Path) -> "Machine":
        result = json.loads(path.read_text(encoding="utf-8"))
        steps = [row for row in result["rows"] if row.get("measure") == "decode step"]
        times = {
            row["batch_size"]: {int(count): row["seconds"] * over for count, over in row["round"].items()}
            for row in steps
        }
        return cls(name, times, bucketed="gpu" in result["machine"])

    @property
    def choices(self) -> Sequence[int]:
        """The draft lengths that the engine considers there."""
        return MEASURED if self.bucketed else range(LONGEST + 1)

    def round_seconds(self, batch: int, draft_tokens: int) -> float:
        if self.bucketed:
            batch = 1 << (batch - 1).bit_length()
        return between({size: between(times, draft_tokens) for size, times in self.times.items()}, batch)

    def relative(self, batch: int) -> list[float]:
        """A round's time over a plain one's, for 0 to LONGEST drafts."""
        return relative({count: self.round_seconds(batch, count) for count in MEASURED})

    def known(self, batch: int) -> Relative:
        """The same as `DraftChoice` asks for it: of chains alone."""
        return Relative(self.relative(batch), {})


def one_round(match: TokenMatches, start: int, draft_tokens: int) -> tuple[int, int]:
    """(drafted, accepted) of the round that begins at a position, as `accepted_per_round` counts them."""
    most = min(draft_tokens, match.limit - start)
    for accepted in range(most):
        place = start + accepted
        if match.ends[place]:  # nothing is drafted after an end, agreed with or not
            return accepted + 1, accepted + match.agrees[place]
        if not match.agrees[place]:
            return most, accepted
    return most, most


def replay(
    windows: Sequence[TokenMatches],
    lengths: DraftChoice,
    machine: Machine,
    batch_size: int,
    times: CallTimes | None = None,  # that learn from the rounds
) -> float:
    """Seconds of all rounds of one call, in which the engine's batch is refilled as rows end."""
    waiting, seconds = list(reversed(windows)), 0.0
    active: list[tuple[TokenMatches, int]] = []  # a window's matches, the position it has reached
    while waiting or active:
        while waiting and len(active) < batch_size:
            active.append((waiting.pop(), 0))
        count = len(lengths.choose([start for _, start in active]))  # of a chain
        taken = machine.round_seconds(len(active), count)
        seconds += taken
        if times is not None:
            times.record(len(active), DraftTree.chain(count), taken)
        rows, active = active, []
        for match, start in rows:
            drafted, accepted = one_round(match, start, count)
            won = min(accepted + 1, len(match.agrees) - start)
            ended = start + won == len(match.agrees)
            lengths.observe(DraftTree.chain(count), range(accepted), drafted, won, start + won, ended)
            if not ended:
                active.append((match, start + won))
    return seconds


@dataclass(frozen=True)
class Workload:
    """Calls to replay."""

    name: str
    calls: list[list[TokenMatches]]


def scripted(alpha: float, tokens: int, windows: int, calls: int = CALLS) -> Workload:
    """Windows of half to one and a half times so many tokens, each agreed with by chance, the end of text the last."""
    coins = Random(int(1000 * alpha))

    def window() -> TokenMatches:
        length = coins.randint(tokens // 2, tokens + tokens // 2)
        agrees = tuple(coins.random() < alpha for _ in range(length))
        return TokenMatches(agrees, (False,) * (length - 1) + (agrees[-1],), finished=True, limit=444)

    return Workload(f"scripted {alpha}, {tokens} tokens", [[window() for _ in range(windows)] for _ in range(calls)])


def recorded(path: Path, windows: int) -> Workload:
    """A file of matches, its utterances dealt to calls of so many windows; what is left over is left out."""
    found = [
        TokenMatches(
            agrees=tuple(mark == "1" for mark in row["agrees"]),
            ends=tuple(place in row["ends"] for place in range(len(row["agrees"]))),
            finished=row["limit"] > len(row["agrees"]),
            limit=row["limit"],
        )
        for row in json.loads(path.read_text(encoding="utf-8"))["utterances"]
    ]
    count = min(windows, len(found))
    return Workload(path.stem, [found[at : at + count] for at in range(0, len(found) - count + 1, count)])


def compare(workload: Workload, machine: Machine, batch_size: int) -> dict:
    """A row of the result: seconds of "auto" and of every fixed draft length over all calls."""

    def total(draft_tokens) -> float:
        return sum(
            replay(call, DraftChoice(draft_tokens, machine.known, machine.choices), machine, batch_size)
            for call in workload.calls
        )

    fixed = {count: total(count) for count in machine.choices}
    best = min(fixed, key=lambda count: fixed[count])
    auto, first = total("auto"), sum(first_call(call, machine, batch_size) for call in workload.calls)
    return {
        "machine": machine.name,
        "matches": workload.name,
        "batch_size": batch_size,
        "agreement": round(agreement(match for call in workload.calls for match in call), 4),
        "calls": len(workload.calls),
        "windows_a_call": len(workload.calls[0]),
        "auto_seconds": round(auto, 6),
        "best_fixed": best,
        "best_fixed_seconds": round(fixed[best], 6),
        "greedy_seconds": round(fixed[0], 6),
        "auto_over_best": round(auto / fixed[best], 4),
        "first_call_over_best": round(first / fixed[best], 4),
        "gain_of_lengths_by_row": round(gain_by_row(workload, machine, batch_size), 4),
    }


def first_call(windows: Sequence[TokenMatches], machine: Machine, batch_size: int) -> float:
    """Seconds of "auto" in a call before which nothing was known of what rounds cost."""
    times = RoundTimes().in_call(timestamps=False)
    lengths = DraftChoice("auto", times.taken, machine.choices, untried=times.untried)
    return replay(windows, lengths, machine, batch_size, times)


def gain_by_row(workload: Workload, machine: Machine, batch_size: int) -> float:
    """At most how much faster a batch would be whose rows each drafted the length that is best for their own agreement,
    which is given: as if a row's share of a round were a batch's whose rows all draft that much."""
    windows = [match for call in workload.calls for match in call]
    taken = machine.relative(batch_size)

    def seconds(lengths: Iterator[int]) -> float:
        return sum(
            len(accepted_per_round(match, count)) * machine.round_seconds(batch_size, count)
            for match, count in zip(windows, lengths, strict=True)
        )

    common = min(seconds(iter([count] * len(windows))) for count in machine.choices)
    own = seconds(best_draft_tokens(agreement([match]), taken, machine.choices) for match in windows)
    return max(0.0, common / own - 1)


def record(output: Path, name: str, source: str) -> Path:
    """A file of matches from an evaluation's folder."""
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(output / "eval" / "utterances.parquet").to_pylist()
    ends = Counter(row["tokens"][-1] for row in rows if row["tokens"])
    end = ends.most_common(1)[0][0]  # nearly every text is finished
    utterances = []
    for row in rows:
        limit = len(row["tokens"]) if row["tokens"][-1] != end else LIMIT
        utterances.append(
            {
                "agrees": "".join("01"[agrees] for agrees in row["agrees"]),
                "ends": [place for place, token in enumerate(row["assistant_tokens"]) if token == end],
                "limit": limit,
            }
        )
    path = MATCHES / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(lines({"source": source, "utterances": utterances}) + "\n", encoding="utf-8")
    return path


def targets(rows: list[dict]) -> dict[str, dict]:
    """The worst cell of each machine and length of text."""
    worst: dict[str, float] = {}
    for row in rows:
        name = f"{row['machine']}, {row['matches'].split(', ')[-1]}: auto's time over the best fixed draft length's"
        worst[name] = max(worst.get(name, 0.0), row["auto_over_best"])
    return {name: {"target": TARGET, "reached": reached, "higher_is_better": False} for name, reached in worst.items()}


def run(args: argparse.Namespace, arguments: list[str]) -> dict:
    rows = []
    for name, file in MACHINES.items():
        machine = Machine.of(name, RESULTS / file)
        for batch_size in args.batch_sizes:
            windows = max(LEAST_WINDOWS, BATCHES * batch_size)
            workload = [
                *(scripted(alpha, tokens, windows, args.calls) for tokens in args.tokens for alpha in args.alphas),
                *(recorded(path, windows) for path in sorted(MATCHES.glob("*.json"))),
            ]
            for one in workload:
                rows.append(compare(one, machine, batch_size))
                print(json.dumps(rows[-1]), flush=True)
    return write_result("replay", args, arguments, rows, targets(rows))


def main(arguments: list[str] | None = None) -> dict | None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    recording = actions.add_parser("record")
    recording.add_argument("output", type=Path, help="the run's folder")
    recording.add_argument("--name", required=True, help="of the file of matches")
    recording.add_argument("--source", required=True, help="a sentence that says what was decoded, by whom")
    running = actions.add_parser("run")
    running.add_argument("--alphas", type=float, nargs="+", default=list(ALPHAS), help="of scripted windows")
    running.add_argument("--tokens", type=int, nargs="+", default=list(TOKENS), help="of scripted windows")
    running.add_argument("--batch-sizes", type=int, nargs="+", default=list(BATCH_SIZES))
    running.add_argument("--calls", type=int, default=CALLS, help="of scripted windows")
    running.add_argument("--out", type=Path, help="the result's file, elsewhere than benchmarks/results")
    running.set_defaults(device="cpu", machine=None)
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parser.parse_args(arguments)
    if args.action == "run":
        return run(args, arguments)
    print(record(args.output, args.name, args.source))
    return None


if __name__ == "__main__":
    main()
