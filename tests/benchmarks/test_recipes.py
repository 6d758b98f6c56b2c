"""Recipes are trained and scored with one main, labels are shared, and what has its row is not run again."""

import json
import re
from pathlib import Path

import pyarrow.parquet
import pytest
import torch

from benchmarks import recipe_results, recipe_variants, recipes
from distill.__main__ import main as distill
from whisper_pair.checkpoints.load import load_main, load_processor
from whisper_pair.config import load_config


def ends_soon(source: Path, target: Path) -> Path:
    """The untrained Whisper, leaning to the end of text: it ends its sentences as a trained one does."""
    main = load_main(source, torch.float32)
    with torch.no_grad():
        decoder = main.model.decoder
        decoder.embed_tokens.weight[main.generation_config.eos_token_id] = 0.1  # as padding it began as zeros
        decoder.layer_norm.bias += 10
    main.save_pretrained(target)
    load_processor(source).save_pretrained(target)
    return target


def test_variants_are_scored_once_and_share_their_labels(write_config, demo_data, tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "distilled", distill)  # in this process: another's start costs more than its work here
    short = ends_soon(demo_data / "micro-whisper", tmp_path / "short")
    config = write_config(tmp_path / "pair.yaml", train=None, model=str(short), distill={"cache": "all"})
    out, runs = tmp_path / "recipes.json", tmp_path / "runs"
    chosen = ["--only", recipe_variants.BASE, "human text", "--foreign", str(short)]
    given = [str(config), "--runs", str(runs), "--out", str(out), *chosen]
    result = recipes.main(given)
    assert [(row["variant"], row["seed"]) for row in result["rows"]] == [
        ("short", None), (recipe_variants.BASE, 0), ("human text", 0),
    ]  # fmt: skip
    itself = result["rows"][0]
    assert itself["agreement"] == 1.0
    assert itself["own_encoder"]
    assert itself["h100"]["tree"] >= itself["h100"]["chain"] > 1
    assert all(row["tree_tau"].keys() == {"4", "8", "16"} for row in result["rows"])
    assert all(0 <= row["agreement"] <= 1 and row["predicted_speedup"] > 0 for row in result["rows"])
    above = [f"agreement above that of {other}" for other in ("human text", "short")]
    assert list(result["targets"]) == [*above, "agreement with the fine-tuned main"]
    tokenizer = load_processor(demo_data / "micro-whisper").tokenizer
    for row in pyarrow.parquet.read_table(runs / "human-text-0" / "labels" / "labels.parquet").to_pylist():
        assert tokenizer.decode(row["tokens"], skip_special_tokens=True).strip() == row["human_text"]
    before = out.read_text()
    monkeypatch.setattr(recipes, "distilled", lambda _: pytest.fail("trained again"))
    assert recipes.main(given) == json.loads(before)


def test_every_override_of_a_variant_is_known_to_the_schema(write_config, tmp_path):
    path = write_config(tmp_path / "pair.yaml")
    config = load_config(path)
    found = recipe_variants.variants([10.0, 20.0], tmp_path, config, 60.0)
    assert len({variant.name for variant in found}) == len(found)
    for variant in found:
        changed = load_config(path, variant.overrides)
        same = not variant.overrides or variant.name in ("1 layer", "KL at temperature 2")  # which the config has
        assert (changed == config) == same
        assert re.fullmatch(r"[\w% .-]+", variant.name)  # it names a folder


def test_a_gain_is_over_the_runs_with_the_same_seeds():
    def runs(**agreements):
        return [{"seed": int(seed[1:]), "agreement": value} for seed, value in agreements.items()]

    base = runs(s0=0.6, s1=0.5, s2=0.4)
    assert recipe_results.gain(runs(s0=0.5), base) == pytest.approx(-0.1)
    assert recipe_results.gain(runs(s1=0.6, s2=0.6), base) == pytest.approx(0.15)
    assert recipe_results.gain([{"seed": None, "agreement": 0.3}], base) == pytest.approx(-0.2)
