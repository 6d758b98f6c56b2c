"""A pair judged from end to end, and a planted fault for every check that a verdict rests on."""

import copy
import json
import os
import shutil
import signal
import threading
import traceback
import types
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet
import pytest
import torch
import yaml
from transformers import GenerationConfig, WhisperForConditionalGeneration, WhisperProcessor

import eval.evaluate as stage
from eval.__main__ import main as run_stage
from eval.evaluate import evaluate
from eval.measuring import contenders, cost, ctranslate, decoded_clips
from eval.measuring.decoding_options import write_best_draft_tokens
from eval.measuring.engines import Assistant, Engines
from eval.reading.compare import compare
from eval.reading.sections.verdict import verdict as verdict_part
from eval.reading.verdict import check_enough_timings, verdict_section
from tests.conftest import LIMIT, ROOT
from whisper_pair.audio.log_mel import LogMel
from whisper_pair.checkpoints.load import load_draft, load_main
from whisper_pair.commands.command_line import guarded
from whisper_pair.commands.evaluate import source
from whisper_pair.config.schema import Require, load_config
from whisper_pair.data.clips import Clip
from whisper_pair.data.corpus import load_test_clips
from whisper_pair.decoding.acceptance import TokenMatches, acceptances
from whisper_pair.decoding.engine import Engine
from whisper_pair.decoding.kv_cache import SharedCache
from whisper_pair.decoding.options import Options
from whisper_pair.decoding.round_times import RoundTimes
from whisper_pair.decoding.rows import Row
from whisper_pair.errors import InputError
from whisper_pair.report.schema import check, problems, read_report
from whisper_pair.report.wording import is_pair

SMALL = {
    "timed_clips": 2,
    "repeats": 1,
    "batch_sizes": [1],
    "draft_tokens": [2],
    "limit": 3,
    "long_form_minutes": 0,
}


@pytest.fixture
def question(pair, material, tmp_path, monkeypatch):
    """A config that judges the pair; keyword arguments replace its eval settings, `test` and `main` its parts. The
    pictures, which take most of a small evaluation's time, are left to the tests of `judged`."""
    monkeypatch.setattr(cost, "TIMES", 1)
    monkeypatch.setattr(stage, "draw", lambda report, folder: None)
    monkeypatch.setattr(stage, "page", lambda report, clips: "")

    def ask(main: Path = pair[0], test: Path = material / "test", train: tuple = (), **settings):
        tree = {
            "language": "nl",
            "model": str(main),
            "output": str(tmp_path / "out"),
            "train": None,
            "data": {"train": list(train), "validation": [], "test": [{"folder": str(test)}], "workers": 0},
            "eval": {"assistant": str(pair[1]), **SMALL, **settings},
        }
        (tmp_path / "question.yaml").write_text(yaml.safe_dump(tree))
        return load_config(tmp_path / "question.yaml")

    return ask


def report_of(config) -> dict:
    return json.loads((Path(config.output) / "eval" / "report.json").read_text())


def criterion(report: dict, name: str) -> dict:
    return next(c for c in report["verdict"]["criteria"] if c["name"] == name)


# What an evaluation leaves


def test_the_report_fits_its_schema_and_a_departure_is_named(judged):
    report = json.loads((judged / "eval" / "report.json").read_text())
    assert problems(report) == []
    for section in ("acceptance", "quality", "identity", "speed", "cost", "memory", "verdict", "environment"):
        less = {name: value for name, value in report.items() if name != section}
        assert any(section in problem for problem in problems(less)), section
    wrong = copy.deepcopy(report)
    wrong["speed"]["rows"][0]["rtfx"] = "fast"
    assert problems(wrong) == ["$.speed.rows[0].rtfx: 'fast' is not of type 'number'"]
    with pytest.raises(AssertionError, match="does not fit its schema"):
        check(wrong)


def test_counters_of_every_utterance_and_every_fixed_draft_length_are_those_of_the_offline_account(judged, pair):
    end = json.loads((pair[0] / "generation_config.json").read_text())["eos_token_id"]
    report = json.loads((judged / "eval" / "report.json").read_text())
    assert criterion(report, "counters_equal")["passed"]
    assert report["acceptance"]["counters"] == {"utterances": 5, "draft_tokens": 4, "equal": 5}
    fixed = [row for row in report["speed"]["rows"] if row["schedule"] == "constant" and row["engine"] == "pair"]
    assert [row["counters_equal"] for row in fixed] == [3] * 4
    rows = pyarrow.parquet.read_table(judged / "eval" / "utterances.parquet").to_pylist()
    timed = [rows[i * 5 // 3] for i in range(3)]
    for row in fixed:
        some = [TokenMatches.of(r["tokens"], r["assistant_tokens"], end, LIMIT) for r in timed]
        found = acceptances(some, [row["draft_tokens"]])[row["draft_tokens"]]
        assert (row["rounds"], row["drafted"], row["accepted"]) == (found.rounds, found.drafted, found.accepted)
    assert 0 < report["acceptance"]["agreement"] < 1  # else the above says little


def test_every_contender_says_the_mains_text_at_every_batch(judged):
    report = json.loads((judged / "eval" / "report.json").read_text())
    rows = report["speed"]["rows"]
    known = {("pair", "greedy"), ("pair", "speculative"), ("pair", "assistant")}
    known |= {("transformers", "greedy"), ("transformers", "assisted")}
    known |= {("faster-whisper", "greedy")} if ctranslate.installed() else set()
    assert {(r["engine"], r["mode"]) for r in rows if r["batch_size"] == 1} == known
    assert len(report["speed"]["left_out"]) == (not ctranslate.installed())
    for row in rows:
        if row["mode"] in ("greedy", "speculative"):
            assert (row["identical"], row["unexplained"]) == (3, 0), row
        assert row["latency_p50"] <= row["latency_p95"] <= row["seconds"]
        if row["parts"]:
            assert sum(row["parts"].values()) == pytest.approx(row["seconds"])


def test_pair_and_main_hear_the_same_in_long_recordings(judged):
    report = json.loads((judged / "eval" / "report.json").read_text())
    long = report["quality"]["long_form"]
    assert long["mode"] == "chunked"  # its first windows tell that it writes no timestamps
    assert long["identical"] == long["recordings"] >= 1
    assert (long["unexplained"], long["batch_size"], long["speakers_told"]) == (0, 8, False)
    assert long["rounds"] > 0
    assert long["pair"]["errors"] == long["main"]["errors"]
    assert long["main"]["length"] == long["apart"]["length"]
    assert criterion(report, "long_form_identical")["passed"]
    text = (judged / "eval" / "report.md").read_text()
    assert (
        f"The pair's segments, times included, are the main's in {long['recordings']} of {long['recordings']}." in text
    )


def test_a_long_recording_that_drafts_change_fails_the_run(judged, capsys):
    report = json.loads((judged / "eval" / "report.json").read_text())
    ended = types.SimpleNamespace(folder=judged / "eval")
    assert stage.status(report, ended, strict=False) == 0
    report["quality"]["long_form"] |= {"identical": 0, "unexplained": 1}
    assert stage.status(report, ended, strict=False) == 1
    criteria = verdict_section(report, Require())["criteria"]
    assert "long_form_identical" in [c["name"] for c in criteria if not c["passed"]]


def test_the_readings_hold_the_reports_figures_and_need_no_network(judged):
    report = json.loads((judged / "eval" / "report.json").read_text())
    text = (judged / "eval" / "report.md").read_text()
    html = (judged / "eval" / "report.html").read_text()
    for figure in (f"{100 * report['acceptance']['agreement']:.1f} %", report["environment"]["date"]):
        assert figure in text
        assert figure in html

    class Reader(HTMLParser):
        outside, sounds, rows = [], 0, 0

        def handle_starttag(self, tag, attrs):
            attrs = dict(attrs)
            self.sounds += tag == "audio"
            self.rows += tag == "tr"
            for name in ("src", "href", "xlink:href"):
                value = attrs.get(name) or "#"
                if not value.startswith(("#", "data:")):
                    self.outside.append(value)

    reader = Reader()
    reader.feed(html)
    assert reader.outside == []
    assert "@import" not in html
    assert reader.sounds >= 5
    assert html.count("<svg") >= 5
    assert {path.stem for path in (judged / "eval" / "plots").glob("*.png")} >= {"acceptance", "draft_length", "parts"}


def test_strict_asks_a_finished_evaluation_too(judged, caplog):
    """A finished evaluation is not repeated; its verdict decides the status."""
    report = json.loads((judged / "eval" / "report.json").read_text())
    assert not report["verdict"]["passed"]  # no random pair is faster
    file = judged / "config.yaml"
    assert run_stage([str(file)]) == 0
    assert run_stage([str(file), "--strict"]) == 1
    assert "the verdict is not passed (" in caplog.text


FASTER = {"speedup": 1.3, "speedup_interval": [1.2, 1.4], "speedup_verdict": "faster", "drafted_rounds": 9, "rounds": 9}
UNCLEAR = FASTER | {"speedup": 1.3, "speedup_interval": [0.9, 1.6], "speedup_verdict": "unclear"}
OFF = {
    "speedup": 0.99,
    "speedup_interval": [0.97, 1.01],
    "speedup_verdict": "unclear",
    "drafted_rounds": 5,
    "rounds": 100,
}


@pytest.fixture
def verdict_of(judged):
    """The verdict on a sound measurement where the pair's rows at batch 1 and 2 are replaced; and what it failed."""

    def of(one: dict, two: dict, agreed: float = 0.6, **require):
        report = json.loads((judged / "eval" / "report.json").read_text())
        report["cost"]["ours"]["assistant_speedup"], report["acceptance"]["agreement"] = 2.5, agreed
        for row in filter(is_pair, report["speed"]["rows"]):
            row |= {1: one, 2: two}[row["batch_size"]]
        verdict = verdict_section(report, Require(**require))
        assert not problems(report | {"verdict": verdict})
        return verdict, [c["name"] for c in verdict["criteria"] if not c["passed"]]

    return of


def test_a_pair_earns_its_place_by_a_gain_at_every_timed_batch_size(verdict_of):
    """No mark of the article is met, which decides nothing."""
    verdict, failed = verdict_of(FASTER, FASTER)
    assert verdict["passed"]
    assert not failed
    assert [(mark["target"], mark["passed"]) for mark in verdict["article"]] == [(3, False), (0.7, False), (2, False)]
    assert verdict_of(FASTER, UNCLEAR)[1] == ["speedup_batch_2"]
    assert verdict_of(FASTER, FASTER, agreed=0.4)[1] == ["agreement"]


@pytest.mark.parametrize(
    ("two", "kept"),
    [
        (OFF, True),
        (
            OFF | {"speedup": 1.02, "speedup_interval": [1.01, 1.03], "speedup_verdict": "faster"},
            True,
        ),  # no gain of its
        (OFF | {"drafted_rounds": 6}, False),  # it drafted, for nothing
        (
            OFF | {"speedup": 0.9, "speedup_interval": [0.85, 0.95], "speedup_verdict": "slower"},
            False,
        ),  # and yet it cost
    ],
)
def test_a_batch_size_without_drafts_is_kept_if_that_costs_nothing(verdict_of, two, kept):
    verdict, failed = verdict_of(FASTER, two)
    found = next(c for c in verdict["criteria"] if c["name"] == "speedup_batch_2")
    assert (found["passed"], found["kept"], failed) == (kept, kept, [] if kept else ["speedup_batch_2"])
    part = verdict_part(verdict)
    assert ("drafting off" in part.text) is kept
    assert part.tables[0].rows[[c["name"] for c in verdict["criteria"]].index("speedup_batch_2")][-1] == (
        "kept" if kept else "no"
    )


def test_a_pair_that_drafts_nowhere_earns_nothing(verdict_of):
    verdict, failed = verdict_of(OFF, OFF)
    assert failed == ["batch_sizes_faster"]
    assert not verdict["passed"]


def test_a_gate_may_ask_for_more_but_not_for_no_speed(verdict_of, question):
    assert verdict_of(FASTER, FASTER, speedup=1.3)[1] == []
    assert verdict_of(FASTER, OFF, speedup=1.5)[1] == ["speedup_batch_1"]
    assert verdict_of(FASTER, FASTER, agreement=0.7, assistant_speedup=3.0)[1] == ["agreement", "assistant_speedup"]
    with pytest.raises(InputError, match=r"eval\.require\.speedup: expected a number of at least 1, found 0"):
        question(require={"speedup": 0})
    with pytest.raises(InputError, match=r"eval\.require\.speedup: expected .* found null"):
        question(require={"speedup": None})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "eval.repeats: expected at least 3 for --strict, found 1: .* 2 clips at batch 1 make 2"),
        (
            {"timed_clips": 40, "limit": 40, "repeats": 2, "batch_sizes": [8, 32]},
            "expected at least 3 .* batch 32 make 4",
        ),
        ({"timed_clips": 9, "limit": 9, "batch_sizes": [1]}, None),  # but the test set holds 5
    ],
)
def test_a_verdict_that_could_say_nothing_of_speed_is_refused_before_any_work(question, settings, said):
    config = question(**settings)
    if said is None:
        check_enough_timings(config.eval)
        check_enough_timings(config.eval, 5)
        with pytest.raises(InputError, match="2 clips at batch 1 make 2"):
            check_enough_timings(config.eval, 2)
    else:
        with pytest.raises(InputError, match=said):
            evaluate(config, strict=True)
    assert not (Path(config.output) / "eval").exists()


def test_two_reports_are_compared_on_the_utterances_they_share(judged, tmp_path, command):
    report = json.loads((judged / "eval" / "report.json").read_text())
    report["utterances"] = report["utterances"][1:]
    for row in report["utterances"]:
        row["agreed"] = row["tokens"]
    (tmp_path / "other.json").write_text(json.dumps(report))
    text = compare([str(judged), str(tmp_path / "other.json")])
    assert "4 utterances are shared" in text
    agreement = next(line for line in text.splitlines() if line.startswith("| agreement"))
    assert agreement.split("|")[3].strip() == "1.000"
    assert "no clear difference" not in agreement
    assert "+0.000 (+0.000 to +0.000), no clear difference" in text  # the error rates are the same
    told = command("-m", "whisper_pair.cli", "compare", judged, tmp_path / "other.json")
    assert told.stdout.strip() == text


@pytest.mark.parametrize("text", ["{", "{}", '{"version": 1}', "[]"])
def test_what_is_no_report_is_refused_in_one_sentence(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(InputError, match=r"report\.json: (cannot be read|is no report)"):
        read_report(tmp_path / "report.json")


def test_the_hubs_sets_are_named_with_config_and_split():
    assert source("google/fleurs:nl_nl:test") == {"hub": "google/fleurs", "config": "nl_nl", "split": "test"}
    assert source("./clips") == {"folder": "./clips"}
    with pytest.raises(InputError, match="--data clips: there is no such folder"):
        source("clips")


def test_the_best_draft_length_is_written_where_transformers_reads_it(pair, tmp_path):
    shutil.copytree(pair[1], tmp_path / "assistant")
    before = (tmp_path / "assistant" / "generation_config.json").read_text()

    def batches(best: int) -> list[dict]:
        return [{"batch_size": 8, "best_draft_tokens": 9}, {"batch_size": 1, "best_draft_tokens": best}]

    def write(best: int) -> GenerationConfig:
        write_best_draft_tokens(tmp_path / "assistant", {"prediction": {"by_batch_size": batches(best)}})
        return GenerationConfig.from_pretrained(tmp_path / "assistant")

    write(0)  # drafting does not pay: nothing that transformers could be told
    assert (tmp_path / "assistant" / "generation_config.json").read_text() == before
    settings = write(6)
    assert settings.num_assistant_tokens == 6
    assert settings.num_assistant_tokens_schedule == "constant"


# Killed and shared


def test_an_evaluation_that_is_stopped_ends_with_143_and_goes_on_with_what_it_decoded(question, monkeypatch, capsys):
    whole = question()
    assert evaluate(whole) == 0
    monkeypatch.setattr(decoded_clips, "AT_ONCE", 1)
    config = replace(whole, output=whole.output + "-again")
    write, parts = decoded_clips.write_json, []

    def written(file, told) -> None:
        write(file, told)
        parts.append(file)
        if len(parts) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(decoded_clips, "write_json", written)
    assert guarded(lambda: evaluate(config)) == 143
    assert "stopped by SIGTERM; 2 of 3 test clips are decoded and kept; " in capsys.readouterr().err
    assert evaluate(config) == 0
    assert len(parts) == len(set(parts)) == 3
    assert not list(Path(config.output).rglob("decoded"))
    one, two = report_of(whole), report_of(config)
    for section in ("quality", "identity", "data", "utterances"):
        assert one[section] == two[section], section


def test_processes_decode_each_clip_once_and_all_hear_the_whole(question, pair, tmp_path, monkeypatch):
    monkeypatch.setattr(decoded_clips, "AT_ONCE", 2)
    main = load_main(pair[0], torch.float32)
    ours = Assistant("ours", pair[1], load_draft(pair[1], torch.float32), None)
    config = question()
    log_mel = LogMel(WhisperProcessor.from_pretrained(pair[0]).feature_extractor)
    clips = load_test_clips(config.data.test, config.data, log_mel.seconds, "test")
    read, barrier = [], threading.Barrier(2, timeout=60)
    monkeypatch.setattr(Clip, "read", lambda self, original=Clip.read: read.append(self.name) or original(self))

    def heard(folder: Path, index: int, of: int):
        wait = barrier.wait if of > 1 else lambda: None
        me = SimpleNamespace(process_index=index, num_processes=of, is_main_process=index == 0, wait_for_everyone=wait)
        engines = Engines(main, [ours])
        return decoded_clips.decode_clips(engines, None, clips, log_mel, stage.options_of(config), folder, me)

    alone = heard(tmp_path / "one", 0, 1)
    read.clear()
    with ThreadPoolExecutor(2) as both:
        shares = list(both.map(lambda index: heard(tmp_path / "two", index, 2), range(2)))
    assert shares == [alone, alone]
    assert sorted(read) == sorted(clip.name for clip in clips)


# Engines


@pytest.fixture
def alive(monkeypatch):
    """The engines that were made, by weak references; those alive are counted whenever one decodes."""
    made, most = [], []
    init, decode = Engine.__init__, Engine.decode

    def counted(self, *given, **more):
        init(self, *given, **more)
        made.append(weakref.ref(self))

    def decoding(self, *given, **more):
        most.append(sum(reference() is not None for reference in made))
        return decode(self, *given, **more)

    monkeypatch.setattr(Engine, "__init__", counted)
    monkeypatch.setattr(Engine, "decode", decoding)
    return SimpleNamespace(made=made, most=most)


def test_there_is_one_engine_a_pair_and_one_cache_of_the_main(question, pair, tmp_path, monkeypatch, alive):
    """With another assistant beside ours: two pairs, and each assistant alone while the test set is decoded, whatever
    the number of clips, draft lengths and measurements."""
    shutil.copytree(pair[1], tmp_path / "other")
    monkeypatch.setattr(decoded_clips, "AT_ONCE", 1)
    monkeypatch.setattr(cost, "TIMES", 2)
    layers, caches = load_main(pair[0], torch.float32).config.decoder_layers, []

    def grown(self, decoder, *given, grow=SharedCache.grow):
        cache = grow(self, decoder, *given)
        if len(decoder.layers) == layers and not any(cache is other for other in caches):  # the main's
            caches.append(cache)
        return cache

    monkeypatch.setattr(SharedCache, "grow", grown)
    tried_while_timed = []

    def untried(self, *given, original=RoundTimes.untried):
        found = original(self, *given)
        if found is not None and any(frame.name == "speed_section" for frame in traceback.extract_stack()):
            tried_while_timed.append(given)
        return found

    monkeypatch.setattr(RoundTimes, "untried", untried)
    config = question(compare=[str(tmp_path / "other")], draft_tokens=[1, 2], batch_sizes=[1, 2])
    assert evaluate(config) == 0
    assert max(alive.most) == 4  # two pairs and, once, both assistants alone; the judged one again while it is timed
    assert len(alive.made) == 6  # the other pair and the assistant alone are made again for timing
    assert len(caches) == 1
    assert not tried_while_timed
    assert not any(reference() for reference in alive.made)
    rows = report_of(config)["speed"]["rows"]
    assert all(row["identical"] == 2 for row in rows if row["engine"] == "pair" and row["mode"] != "assistant")


def test_pairs_of_one_main_share_its_cache_and_take_turns(pair):
    main, draft = load_main(pair[0], torch.float32), load_draft(pair[1], torch.float32)
    engines = Engines(main, [Assistant("ours", pair[1], draft, None), Assistant("other", pair[1], draft, None)])
    one, other = (engines.pair(assistant) for assistant in engines.assistants)
    features = torch.randn(3, *one.encoders.shapes["features"], generator=torch.Generator().manual_seed(1))
    expected = [row.tokens for row in Engine(main).decode(features, Options(language="nl"))]
    for engine, batch_size, drafts in ((one, 1, 2), (other, 3, 2), (one, 2, 0), (one, 3, "auto"), (other, 1, 4)):
        options = Options(language="nl", batch_size=batch_size, draft_tokens=drafts)
        assert [row.tokens for row in engine.decode(features, options)] == expected
        assert engine._caches[0] is one._shared.cache
    assert one._shared.cache.capacity == 3
    with pytest.raises(InputError, match="like: is an Engine of another main"):
        Engine(load_main(pair[0], torch.float32), like=one)
    main.model.decoder.layers[0].fc1.weight.data.add_(0)
    main.model.decoder.layers[0].fc1.weight.requires_grad_(False).add_(1)
    with pytest.raises(InputError, match="weights have changed"):
        Engine(main, like=one)


def test_the_main_alone_never_asks_an_assistants_own_encoder(pair, monkeypatch):
    main = load_main(pair[0], torch.float32)
    engine = Engine(main, load_main(pair[0], torch.float32))
    monkeypatch.setattr(engine.encoders.draft, "forward", None)
    features = torch.randn(2, *engine.encoders.shapes["features"], generator=torch.Generator().manual_seed(1))
    asked = Options(language="nl", draft_tokens=0)
    assert [r.tokens for r in engine.decode(features, asked)] == [
        r.tokens for r in Engine(main).decode(features, asked)
    ]


# Half precision


def test_in_half_precision_differences_are_explained_beside_what_batching_alone_changes(question):
    config = question(precision="bf16")
    assert evaluate(config) == 0
    identity = report_of(config)["identity"]
    assert identity["unexplained"] == 0
    assert isinstance(identity["batch_1_against_8"], int)
    assert identity["identical"] + identity["near_ties"] == identity["utterances"] == 3
    assert all(d["gap"] <= 2 * d["noise"] for d in identity["differences"])


# The article's own table


def test_the_articles_config_prints_our_figures_beside_its_own(question, pair, material, tmp_path):
    """On a stand-in of 75 clips for its data, micro models for large-v2 and tiny, and a few timed clips of the 73."""
    clips = tmp_path / "clips"
    clips.mkdir()
    files = sorted((material / "test").glob("*.wav"))
    for i in range(75):
        shutil.copy(files[i % len(files)], clips / f"{i}.wav")
    (clips / "metadata.csv").write_text("file_name,normalized_text\n" + "".join(f"{i}.wav,ja\n" for i in range(75)))
    replaced = {
        "model": pair[0],
        "output": tmp_path / "out",
        "data.test": f"[{{folder: {clips}, text: normalized_text}}]",
        "eval.assistant": pair[1],
        "eval.timed_clips": 2,
        "eval.batch_sizes": "[1]",
        "eval.draft_tokens": "[2]",
        "eval.repeats": 1,
        "eval.precision": "fp32",  # a CPU is slow in half precision
        "eval.long_form_minutes": 0,
    }
    overrides = [f"{key}={value}" for key, value in replaced.items()]
    config = load_config(ROOT / "configs" / "article-dutch.yaml", overrides)
    assert evaluate(config) == 0
    report = report_of(config)
    assert (report["data"]["clips"], report["data"]["available"]) == (73, 75)
    text = (tmp_path / "out" / "eval" / "report.md").read_text()
    assert "| published | 116.5 | 62.1 | 1.9x | 12.7 % |" in text
    assert "| here, transformers |" in text


@pytest.mark.parametrize(
    ("name", "figures"), [("article", (73.0, 32.7, 2.2, 0.035)), ("article-dutch", (116.5, 62.1, 1.9, 0.127))]
)
def test_the_published_figures_are_the_articles(name, figures):
    config = load_config(ROOT / "configs" / f"{name}.yaml")
    said = config.eval.published
    ratio = round(said.greedy_seconds / said.assisted_seconds, 1)
    assert (said.greedy_seconds, said.assisted_seconds, ratio, said.error_rate) == figures
    assert (config.eval.limit, config.eval.timed_clips, config.train) == (73, 73, None)


# Planted faults


def test_an_assistant_over_another_encoder_is_refused(question, pair, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(pair[0], other)
    main = WhisperForConditionalGeneration.from_pretrained(other)
    main.model.encoder.layers[0].fc1.weight.data[0, 0] += 1e-3
    main.save_pretrained(other)
    with pytest.raises(InputError, match="was distilled over another encoder"):
        evaluate(question(main=other))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_engine_that_commits_one_wrong_token_fails_the_run(question, monkeypatch, precision):
    advance = Row.advance

    def wrong(row, result):
        begins = result.proposed and row.index == 1 and len(row.tokens) == row.start
        return advance(row, result._replace(following=result.following + 7) if begins else result)

    monkeypatch.setattr(Row, "advance", wrong)
    config = question(precision=precision)
    assert evaluate(config) == 1
    report = report_of(config)
    assert report["identity"]["unexplained"] == 1
    assert not criterion(report, "identical_output")["passed"]
    (difference,) = [d for d in report["identity"]["differences"] if not d["near_tie"]]
    assert difference["gap"] > 0
    assert evaluate(config) == 1  # found finished, it fails again


def test_a_baseline_under_other_suppress_tokens_is_no_baseline(question, monkeypatch):
    generate = contenders._generate

    def other(main, features, options, assistant=None):
        usual = main.generation_config.suppress_tokens
        said = generate(main, features[:1], options)[0].tokens
        main.generation_config.suppress_tokens = [*(usual or ()), said[0]]
        try:
            return generate(main, features, options, assistant)
        finally:
            main.generation_config.suppress_tokens = usual

    monkeypatch.setattr(contenders, "_generate", other)
    config = question()
    evaluate(config)
    found = criterion(report_of(config), "baseline_unexplained")
    assert found["figure"] > 0
    assert not found["passed"]


def test_a_leaked_test_clip_fails_the_verdict(question, material, tmp_path):
    trained = tmp_path / "trained"
    shutil.copytree(material / "train", trained)
    lines = (trained / "metadata.csv").read_text().splitlines()
    first = sorted((material / "test").glob("*.wav"))[0]
    shutil.copy(first, trained / "harmless.wav")
    columns = lines[0].split(",")
    new = ["harmless.wav" if c == "file_name" else "iets anders" if c == "text" else "x" for c in columns]
    (trained / "metadata.csv").write_text("\n".join([*lines, ",".join(new)]) + "\n")
    config = question(train=({"folder": str(trained)},), limit=5)
    evaluate(config)
    report = report_of(config)
    assert [Path(name).name for name in report["data"]["leaks"]["clips"]] == [first.name]
    assert not criterion(report, "leaked_clips")["passed"]
