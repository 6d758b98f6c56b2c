"""Whatever is given, a mistake or an attack is one sentence: InputError, never a traceback, never code that runs."""

import io
import json
import os
import pickle
import shutil
import struct
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from distill.student import build_student
from whisper_pair.audio.reading import audio_seconds, read_audio
from whisper_pair.audio.sound import SAMPLE_RATE
from whisper_pair.checkpoints.identity import check_pair, encoder_sha256, vocabulary_sha256
from whisper_pair.checkpoints.load import load_draft, load_main, load_processor
from whisper_pair.checkpoints.locate import checkpoint_folder
from whisper_pair.checkpoints.manifest import PairManifest
from whisper_pair.commands.command_line import guarded
from whisper_pair.config.schema import Data, Source, load_config
from whisper_pair.data.corpus import load_test_clips, load_training_clips
from whisper_pair.errors import InputError
from whisper_pair.report.schema import read_report

quick = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))

words = st.text(max_size=12)
plain = st.none() | st.booleans() | st.integers() | st.floats() | words
trees = st.recursive(plain, lambda part: st.lists(part, max_size=3) | st.dictionaries(words, part, max_size=3))
DEEP = "[" * 100_000


def refused(action) -> str:
    """The sentence, where the action refuses; "" where it does not."""
    try:
        action()
    except InputError as error:
        said = str(error)
    else:
        return ""
    assert said.strip()
    assert "\n" not in said
    return said


# Configs

KEYS = ["language", "model", "output", "data", "train", "distill", "eval", "seed", "tracker", "data.train.0.folder"]
GOOD = (
    "{language: nl, model: m, output: o, data: {train: [{folder: a}], validation: [{folder: b}], test: [{folder: c}]}}"
)


@quick
@given(st.binary(max_size=300))
def test_a_config_of_any_bytes(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(content)
    assert refused(lambda: load_config(path))


@quick
@given(st.sampled_from(KEYS), trees, words)
def test_a_config_with_any_value_anywhere(tmp_path_factory, key, value, name):
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    tree = yaml.safe_load(GOOD)
    node, *rest = [tree, *key.split(".")]
    for part in rest[:-1]:
        node = node[int(part) if part.isdigit() else part]
    node[rest[-1]] = value
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    refused(lambda: load_config(path, [f"{key}={name}", f"{name}=1"]))


@pytest.mark.parametrize(
    "content",
    [DEEP, "!!python/object/apply:os.system ['touch broken']", "a: &a [*a]", "? [1]\n: 2", "\0", "a: 1e999", "&a [*a]"],
)
def test_configs_made_to_hurt(tmp_path, content):
    path = tmp_path / "pair.yaml"
    path.write_text(content)
    assert refused(lambda: load_config(path))
    assert not (tmp_path / "broken").exists()
    assert not Path("broken").exists()


ALIASES = {  # a few hundred bytes that stand for 10^10 parts
    "lists": "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10 if i else ['x'] * 10)}]\n" for i in range(11)),
    "merges": "m0: &m0 {k: 1}\n"
    + "".join(f"m{i}: &m{i} {{<<: [{','.join([f'*m{i - 1}'] * 10)}]}}\n" for i in range(1, 11)),
    "a chain": "c0: &c0 [x]\n" + "".join(f"c{i}: &c{i} [*c{i - 1}]\n" for i in range(1, 2_000)),
}


@pytest.mark.parametrize("kind", ALIASES)
def test_aliases_that_stand_for_more_than_any_config_are_not_written_out(tmp_path, kind):
    (tmp_path / "pair.yaml").write_text(ALIASES[kind])
    assert "its aliases stand for more than" in refused(lambda: load_config(tmp_path / "pair.yaml"))
    override = "eval.draft_tokens=" + "{" + ALIASES[kind].replace("\n", ",") + "}"
    (tmp_path / "pair.yaml").write_text(GOOD)
    assert refused(lambda: load_config(tmp_path / "pair.yaml", [override]))


def test_aliases_of_an_ordinary_config_are_read_and_an_endless_one_is_not(tmp_path):
    (tmp_path / "pair.yaml").write_text(
        GOOD.replace("[{folder: b}]", "&v [{folder: b}]").replace("[{folder: c}]", "*v")
    )
    assert load_config(tmp_path / "pair.yaml").data.test == (Source(folder="b"),)
    (tmp_path / "pair.yaml").write_text("a" * 2**21)
    assert "has more than" in refused(lambda: load_config(tmp_path / "pair.yaml"))


@pytest.mark.parametrize("key", ["trust_remote_code", "data.train.0.trust_remote_code", "train.trust_remote_code"])
def test_a_config_that_asks_to_trust_remote_code_is_refused_in_words(tmp_path, key):
    path = tmp_path / "pair.yaml"
    path.write_text(GOOD)
    said = refused(lambda: load_config(path, [f"{key}=true"]))
    assert said.startswith(f"{key}: ")
    assert "is never run" in said


# Metadata

SPEECH = Data((), (), ())


@pytest.fixture(scope="module")
def clip() -> bytes:
    import numpy as np
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.zeros(SAMPLE_RATE // 2, np.float32), SAMPLE_RATE, format="WAV")
    return file.getvalue()


@pytest.fixture
def corpus(tmp_path, clip) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "clip.wav").write_bytes(clip)
    return folder


def read(folder: Path) -> str:
    source = [Source(folder=str(folder))]
    refused(lambda: load_training_clips(source, SPEECH, 30.0))
    return refused(lambda: load_test_clips(source, SPEECH, 30.0, "test"))


@quick
@given(st.sampled_from(["metadata.csv", "metadata.jsonl", "metadata.parquet"]), st.binary(max_size=200))
def test_metadata_of_any_bytes(tmp_path_factory, name, content):
    folder = tmp_path_factory.mktemp("corpus")
    (folder / name).write_bytes(content)
    assert read(folder)
    shutil.rmtree(folder)


@quick
@example([{"\n": None}])
@given(st.lists(st.dictionaries(st.sampled_from(["file_name", "text", "x"]), trees, max_size=3) | trees, max_size=3))
def test_metadata_of_any_rows(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    assert read(folder)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "name", ["../secret.wav", "/etc/hostname", "a/../../secret.wav", "link.wav", "linked/secret.wav"]
)
def test_no_path_in_metadata_leaves_its_folder(corpus, clip, name):
    (corpus.parent / "secret.wav").write_bytes(clip)
    (corpus / "link.wav").symlink_to("../secret.wav")
    (corpus / "linked").symlink_to("..")
    (corpus / "metadata.csv").write_text(f"file_name,text\n{name},x\n")
    assert "leaves the folder" in read(corpus)


@pytest.mark.parametrize("name", ["\\u0000", "a" * 5000, "loop.wav", "pipe.wav", "", ".", "clip.wav/x"])
def test_file_names_made_to_hurt(corpus, name):
    (corpus / "loop.wav").symlink_to("loop.wav")
    os.mkfifo(corpus / "pipe.wav")  # whose reading would never end
    (corpus / "metadata.jsonl").write_text(f'{{"file_name": "{name}", "text": "x"}}\n')
    assert read(corpus)


# Audio


@quick
@given(st.binary(max_size=400), st.sampled_from([b"", b"RIFF", b"fLaC", b"OggS", b"ID3", b"\xff\xfb"]))
def test_audio_of_any_bytes(content, magic):
    refused(lambda: read_audio(magic + content))
    refused(lambda: audio_seconds(magic + content))


@quick
@given(st.integers(0, 60), st.binary(min_size=1, max_size=4))
def test_audio_with_any_harm_in_its_header(clip, position, harm):
    content = bytearray(clip)
    content[position : position + len(harm)] = harm
    refused(lambda: read_audio(bytes(content)))
    refused(lambda: audio_seconds(bytes(content)))


# Checkpoints


@pytest.fixture(scope="module")
def pair(material, tmp_path_factory) -> tuple[Path, Path]:
    main, assistant = material / "micro-whisper", tmp_path_factory.mktemp("pair") / "assistant"
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
def test_pair_jsons_made_to_hurt(copy, content):
    (copy[1] / "pair.json").write_bytes(content)
    assert refused(lambda: load(*copy))


@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", ["", "[]", "null", DEEP, '{"model_type": 3}', '{"model_type": "whisper"}', "\0"])
def test_a_checkpoints_own_files_made_to_hurt(copy, file, content):
    if file == "generation_config.json" and content.startswith("{"):
        return  # lacks what it lacks, which the engine names
    (copy[0] / file).write_text(content)
    said = refused(lambda: load(*copy))
    assert said or file != "config.json"


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
def test_weights_made_to_hurt(copy, which, content):
    (copy[which] / "model.safetensors").write_bytes(content)
    said = refused(lambda: load(*copy))
    assert str(copy[which]) in said


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


# Reports


@quick
@given(st.binary(max_size=100) | trees.map(lambda tree: json.dumps(tree).encode()) | st.just(DEEP.encode()))
def test_a_report_of_any_content(tmp_path_factory, content):
    output = tmp_path_factory.getbasetemp() / "run"
    (output / "eval").mkdir(parents=True, exist_ok=True)
    (output / "eval" / "report.json").write_bytes(content)
    assert "evaluate again" in refused(lambda: read_report(output / "eval" / "report.json"))


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
