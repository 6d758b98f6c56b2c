"""What a checkpoint is: every part fits the others, or one sentence says which does not, before weights are loaded."""

import json
import re
import shlex
import shutil

import pytest
import torch
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

from tests.checkpoints.micro_checkpoint import RATE, add_words, edit, refused, speech
from whisper_pair import Pair
from whisper_pair.checkpoints.check import merge_command
from whisper_pair.checkpoints.load import load_main, load_processor
from whisper_pair.checkpoints.locate import checkpoint_folder
from whisper_pair.config.load import load_config
from whisper_pair.decoding.special_tokens import SpecialTokens
from whisper_pair.errors import InputError
from whisper_pair.synthetic.micro import MicroWhisper, build

# --- tokenizer and feature extractor


@pytest.mark.parametrize("left", [(), ("vocab.json",)])
def test_a_checkpoint_without_a_tokenizer_is_refused_everywhere(main, left):
    (main / "tokenizer.json").unlink()
    for name in left:  # the half of a tokenizer
        (main / name).write_text("{}")
    refused("has no tokenizer", main)


def test_nothing_is_trained_or_distilled_without_a_tokenizer(main, tmp_path, write_config):
    from distill.distil import distil
    from train.finetune import finetune

    (main / "tokenizer.json").unlink()
    for stage, train in ((finetune, {}), (distil, None)):
        config = load_config(write_config(tmp_path / "pair.yaml", model=str(main), train=train))
        with pytest.raises(InputError, match="has no tokenizer"):
            stage(config)
    assert not (tmp_path / "output").exists()


def test_a_tokenizer_of_2022_is_read_and_its_timestamps_are_found(stock, main):
    """It came as vocab.json, merges.txt and added_tokens.json, and named no timestamps."""
    parts = json.loads((main / "tokenizer.json").read_text())
    times = re.compile(r"<\|\d+\.\d+\|>")
    added = {a["content"]: a["id"] for a in parts["added_tokens"] if not times.fullmatch(a["content"])}
    (main / "vocab.json").write_text(json.dumps(parts["model"]["vocab"]))
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in parts["model"]["merges"]]
    (main / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    (main / "added_tokens.json").write_text(json.dumps(added))
    (main / "special_tokens_map.json").write_text(json.dumps({"additional_special_tokens": list(added)}))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (main / name).unlink()
    edit(main, suppress_tokens=[], no_timestamps_token_id=None, lang_to_id=None, task_to_id=None, is_multilingual=None)
    ours, theirs = (SpecialTokens.of(load_main(folder, torch.float32)) for folder in (main, stock))
    assert len(load_processor(main).tokenizer) < len(load_processor(stock).tokenizer)
    assert (ours.timestamps, ours.words, ours.languages) == (theirs.timestamps, frozenset(), theirs.languages)


def test_a_tokenizer_that_goes_beyond_the_embeddings_is_refused(main):
    add_words(main, "Kaatsheuvel", resize=False)
    refused("has 'Kaatsheuvel' at 859, beyond the model's 859 embeddings", main)


def test_a_tokenizer_of_another_vocabulary_is_refused(main, tmp_path):
    build(tmp_path / "other", MicroWhisper(decoder_layers=2, width=64, vocabulary=500), 1)
    shutil.copy(tmp_path / "other" / "tokenizer.json", main)
    with pytest.raises(InputError, match=r"eos_token_id 550, but the tokenizer, .* <\|endoftext\|>, has it at 500"):
        load_main(main, torch.float32)


def test_the_feature_extractor_must_fit_the_model(main):
    WhisperFeatureExtractor(feature_size=128, chunk_length=4).save_pretrained(main)
    edit(main, "processor_config.json", feature_extractor={"feature_size": 128, "chunk_length": 4, "n_fft": 400,
         "hop_length": 160, "sampling_rate": RATE, "feature_extractor_type": "WhisperFeatureExtractor"})  # fmt: skip
    refused("feature_size 128, expected 80, the model's num_mel_bins", main)


def test_a_window_of_another_length_is_refused(main):
    edit(main, "processor_config.json", feature_extractor={"feature_size": 80, "chunk_length": 30, "n_fft": 400,
         "hop_length": 160, "sampling_rate": RATE, "feature_extractor_type": "WhisperFeatureExtractor"})  # fmt: skip
    refused("nb_max_frames 3000, expected 400", main)


def test_a_missing_feature_extractor_is_replaced_by_the_one_that_the_model_needs(stock, main, caplog):
    (main / "processor_config.json").unlink()
    transcribed = [
        Pair.from_pretrained(str(folder), None).transcribe([speech()], language="nl") for folder in (stock, main)
    ]
    assert transcribed[0][0].tokens == transcribed[1][0].tokens
    assert "has no feature extractor; Whisper's for 80 mel bins and 4 s is taken" in caplog.text


# --- adapters


def test_an_adapter_without_its_base_is_refused_with_the_command_that_merges_it(stock, tmp_path):
    from peft import LoraConfig, get_peft_model

    model = WhisperForConditionalGeneration.from_pretrained(stock)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    with pytest.raises(InputError, match="holds a LoRA adapter and not a whole checkpoint") as caught:
        checkpoint_folder(str(tmp_path / "adapter"))
    merge = merge_command(str(stock), str(tmp_path / "adapter"), f"{tmp_path / 'adapter'}-merged")
    assert merge in str(caught.value)
    program, flag, code = shlex.split(merge)
    assert (program, flag) == ("python", "-c")
    exec(code, {})
    merged, base = (
        load_main(checkpoint_folder(f"{tmp_path / 'adapter'}-merged"), torch.float32),
        load_main(stock, torch.float32),
    )
    changed = [not torch.equal(a, b) for a, b in zip(merged.parameters(), base.parameters(), strict=True)]
    assert any(changed)
    assert SpecialTokens.of(merged) == SpecialTokens.of(base)
