"""Checkpoints made to hurt: one sentence each, never a traceback, never code that runs."""

import json
import os
import pickle
import shutil
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.student import build_student
from tests.fuzzing import DEEP, quick, refused, trees
from whisper_pair.checkpoints.identity import check_pair, encoder_sha256, vocabulary_sha256
from whisper_pair.checkpoints.load import load_draft, load_main, load_processor
from whisper_pair.checkpoints.locate import checkpoint_folder
from whisper_pair.checkpoints.manifest import PairManifest
from whisper_pair.commands.command_line import guarded
from whisper_pair.config.load import load_config
from whisper_pair.errors import InputError


@pytest.fixture(scope="module")
def pair(demo_data, tmp_path_factory) -> tuple[Path, Path]:
    main, assistant = demo_data / "micro-whisper", tmp_path_factory.mktemp("pair") / "assistant"
    build_student(load_main(main, torch.float32), (0,)).save_pretrained(assistant)
    processor = load_processor(main)
    processor.save_pretrained(assistant)
    hashes = encoder_sha256(main), vocabulary_sha256(processor.tokenizer)
    PairManifest(str(main), *hashes, (0,), "nl", "transcribe").save(assistant)
    return main, assistant


@pytest.fixture
def copy(pair, tmp_path) -> tuple[Path, Path]:
    return tuple(shutil.copytree(folder, tmp_path / folder.name) for folder in pair)


def load(main: Path, assistant: Path) -> None:
    check_pair(checkpoint_folder(str(main)), checkpoint_folder(str(assistant)))
    load_main(main, torch.float32)
    load_draft(assistant, torch.float32)
    load_processor(main)


@quick
@given(trees | st.dictionaries(st.sampled_from(list(PairManifest.__dataclass_fields__)), trees))
def test_a_pair_json_of_any_tree(tmp_path_factory, tree):
    folder = tmp_path_factory.getbasetemp()
    (folder / "pair.json").write_text(json.dumps(tree), encoding="utf-8")
    assert "distil the assistant again" in refused(lambda: PairManifest.load(folder))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", DEEP.encode(), b'{"layers": null}', b'{"layers": ["a"]}'])
def test_hostile_pair_jsons_are_refused(copy, content):
    (copy[1] / "pair.json").write_bytes(content)
    assert refused(lambda: load(*copy))


@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", ["", "[]", "null", DEEP, '{"model_type": 3}', '{"model_type": "whisper"}', "\0"])
def test_hostile_files_of_a_checkpoint_are_refused(copy, file, content):
    if file == "generation_config.json" and content.startswith("{"):
        return  # lacks what it lacks, which the engine names
    (copy[0] / file).write_text(content)
    message = refused(lambda: load(*copy))
    assert message or file != "config.json"


@pytest.mark.parametrize("value", [10**9, 10**400, -1, 2.5e9, float("inf")])
@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("config.json", "decoder_layers"),
        ("config.json", "vocab_size"),
        ("config.json", "max_source_positions"),
        ("processor_config.json", "feature_size"),
        ("processor_config.json", "chunk_length"),
        ("processor_config.json", "n_fft"),
    ],
)
def test_sizes_that_no_whisper_has_are_refused_before_anything_of_them_is_built(copy, file, key, value):
    path = copy[0] / file
    tree = json.loads(path.read_text())
    (tree if file == "config.json" else tree["feature_extractor"])[key] = value
    path.write_text(json.dumps(tree))
    assert str(path) in refused(lambda: load(*copy))


def test_a_config_of_more_parameters_than_its_weights_have_bytes_is_refused_before_it_is_built(copy):
    path = copy[0] / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"decoder_ffn_dim": 100_000, "encoder_ffn_dim": 100_000}))
    assert "parameters, its weights have" in refused(lambda: load_main(copy[0], torch.float32))


def header(length: int, rest: bytes = b"") -> bytes:
    return struct.pack("<Q", length) + rest


WHOLE = b'{"model.encoder.x":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        header(10 * 2**30),  # a header of 10 GB, it claims
        header(2**64 - 1),
        header(5, b"{}"),
        header(len(WHOLE % (10**12, 4 * 10**12)), WHOLE % (10**12, 4 * 10**12)),  # a tensor of 4 TB
        header(len(WHOLE % (1, 4)), WHOLE % (1, 4)) + b"1234",  # sound, but of another model
        pickle.dumps({"model": 1}),
        b"\x80\x02" * 50,
    ],
)
@pytest.mark.parametrize("which", [0, 1])
def test_hostile_weights_are_refused(copy, which, content):
    (copy[which] / "model.safetensors").write_bytes(content)
    message = refused(lambda: load(*copy))
    assert str(copy[which]) in message


@quick
@given(st.integers(0, 4000), st.binary(min_size=1, max_size=8))
def test_weights_with_any_harm_in_their_header(pair, tmp_path_factory, position, harm):
    folder = shutil.copytree(pair[1], tmp_path_factory.mktemp("harm") / "assistant")
    with open(folder / "model.safetensors", "r+b") as file:
        file.seek(position)
        file.write(harm)
    refused(lambda: load_draft(folder, torch.float32))
    shutil.rmtree(folder)


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


def test_a_pickle_in_a_checkpoint_is_never_opened(copy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("pytorch_model.bin", "training_args.bin", "model.pt"):
        (copy[0] / name).write_bytes(pickle.dumps(Bomb()))
    load(*copy)  # from its safetensors
    (copy[0] / "model.safetensors").unlink()
    assert "other formats can run code" in refused(lambda: load(*copy))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("shard", ["../stolen.safetensors", "/stolen.safetensors", "pytorch_model.bin", 3, None])
def test_an_index_may_name_only_safetensors_beside_it(copy, shard):
    weights = copy[0] / "model.safetensors"
    shutil.copy(weights, copy[0].parent / "stolen.safetensors")
    weights.rename(copy[0] / "model-00001-of-00001.safetensors")
    (copy[0] / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    index = {"metadata": {}, "weight_map": {"model.decoder.layer_norm.weight": shard}}
    (copy[0] / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "beside it" in refused(lambda: load(*copy))


def test_code_that_comes_with_a_checkpoint_is_never_run(copy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "open('exploded', 'w')\nclass Evil: pass\n"
    for name in ("config.json", "tokenizer_config.json", "processor_config.json", "generation_config.json"):
        path = copy[0] / name
        found = json.loads(path.read_text()) if path.is_file() else {}
        maps = dict.fromkeys(("AutoConfig", "AutoModel", "AutoTokenizer", "AutoProcessor"), "evil.Evil")
        path.write_text(json.dumps(found | {"auto_map": maps, "custom_generate": "evil"}))
    (copy[0] / "evil.py").write_text(code)
    (copy[0] / "custom_generate").mkdir()
    (copy[0] / "custom_generate" / "generate.py").write_text(code)
    refused(lambda: load(*copy))
    assert not (tmp_path / "exploded").exists()


def test_weights_that_lack_a_tensor_are_not_filled_with_chance(copy):
    from safetensors.torch import load_file, save_file

    for folder in copy:
        tensors = load_file(folder / "model.safetensors")
        del tensors["model.decoder.layers.0.fc1.weight"]
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert "lack model.decoder.layers.0.fc1.weight" in refused(lambda: load_main(copy[0], torch.float32))
    assert "lack model.decoder.layers.0.fc1.weight" in refused(lambda: load_draft(copy[1], torch.float32))


# As the user meets it


def test_a_mistake_is_one_sentence_and_status_2_and_debug_shows_where(command, write_config, copy, tmp_path):
    (copy[0] / "model.safetensors").write_bytes(header(10 * 2**30))
    config = write_config(tmp_path / "pair.yaml", model=str(copy[0]))
    done = command("-m", "train", config)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {copy[0]}: ")
    assert done.stderr.count("\n") == 1
    with pytest.raises(InputError):
        guarded(lambda: load_config(tmp_path / "gone.yaml"), debug=True)
