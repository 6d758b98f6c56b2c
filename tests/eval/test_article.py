"""The article's own table, measured here."""

import shutil

import pytest

from eval.evaluate import evaluate
from tests.conftest import ROOT
from tests.eval.reports import report_of
from whisper_pair.config.load import load_config


def test_the_articles_config_prints_our_figures_beside_its_own(eval_config, pair, demo_data, tmp_path):
    """On a stand-in of 75 clips for its data, micro models for large-v2 and tiny, and a few timed clips of the 73."""
    clips = tmp_path / "clips"
    clips.mkdir()
    files = sorted((demo_data / "test").glob("*.wav"))
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
    message = config.eval.published
    ratio = round(message.greedy_seconds / message.assisted_seconds, 1)
    assert (message.greedy_seconds, message.assisted_seconds, ratio, message.error_rate) == figures
    assert (config.eval.limit, config.eval.timed_clips, config.train) == (73, 73, None)
