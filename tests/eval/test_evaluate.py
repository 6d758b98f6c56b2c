"""A pair evaluated from end to end, and what the evaluation leaves."""

import copy
import json
import shutil
from html.parser import HTMLParser

import pyarrow.parquet
import pytest
from transformers import GenerationConfig

from eval.evaluate import evaluate
from eval.measuring import ctranslate
from eval.measuring.decoding_options import write_best_draft_tokens
from eval.reading.compare import compare
from tests.conftest import LIMIT
from tests.eval.reports import criterion, report_of
from whisper_pair.commands.evaluate import source
from whisper_pair.decoding.acceptance import TokenMatches, acceptances
from whisper_pair.errors import InputError
from whisper_pair.report.schema import check, problems, read_report


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


def test_counters_of_every_utterance_and_every_fixed_draft_length_are_those_of_the_offline_replay(judged, pair):
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


def test_every_contender_writes_the_mains_text_at_every_batch(judged):
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


def test_pair_and_main_write_the_same_text_of_long_recordings(judged):
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


def test_the_readings_hold_the_reports_figures_and_need_no_network(judged):
    report = json.loads((judged / "eval" / "report.json").read_text())
    text = (judged / "eval" / "report.md").read_text()
    html = (judged / "eval" / "report.html").read_text()
    day = report["environment"]["date"].partition("T")[0]
    for figure in (f"{100 * report['acceptance']['agreement']:.1f} %", day):
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
    printed = command("-m", "whisper_pair.cli", "compare", judged, tmp_path / "other.json")
    assert printed.stdout.strip() == text


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


# Half precision


def test_in_half_precision_differences_are_explained_beside_what_batching_alone_changes(eval_config):
    config = eval_config(precision="bf16")
    assert evaluate(config) == 0
    identity = report_of(config)["identity"]
    assert identity["unexplained"] == 0
    assert isinstance(identity["batch_1_against_8"], int)
    assert identity["identical"] + identity["near_ties"] == identity["utterances"] == 3
    assert all(d["gap"] <= 2 * d["noise"] for d in identity["differences"])
