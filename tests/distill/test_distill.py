"""The parts of distillation: what is kept, what the student starts from, and how it is scored."""

import dataclasses
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from distill.cache_policy import CachePolicy
from distill.examples import DraftExample, marked, table
from distill.inputs import taught
from distill.student import DistillationLoss, build_student, check_start, chosen_layers
from distill.teacher import Teacher, digest_of, teacher_cache
from distill.validation import joined
from whisper_pair.audio.log_mel import LogMel
from whisper_pair.checkpoints import Capabilities
from whisper_pair.checkpoints.load import load_main, load_processor
from whisper_pair.config.load import load_config
from whisper_pair.config.schema import Data, Distill, Losses
from whisper_pair.data.clips import Clip, Window
from whisper_pair.errors import InputError
from whisper_pair.training.batches import Example
from whisper_pair.training.losses.chunks import IGNORE
from whisper_pair.training.write_behind import WRITES


@pytest.fixture(scope="module")
def main(demo_data):
    return load_main(demo_data / "micro-whisper", torch.float32).requires_grad_(False)


@pytest.fixture
def batch(main):
    """Three rows of unequal length over random encoder states: audio_features, inputs, labels, and their examples."""
    generator = torch.Generator().manual_seed(0)
    audio_features = torch.randn(3, main.config.max_source_positions, main.config.d_model, generator=generator)
    lengths, prefix = (5, 9, 7), 3
    inputs, labels = torch.zeros(3, 8, dtype=torch.long), torch.full((3, 8), IGNORE)
    examples = []
    for row, length in enumerate(lengths):
        tokens = torch.randint(0, 300, (length,), generator=generator)
        inputs[row, : length - 1] = tokens[:-1]
        labels[row, prefix - 1 : length - 1] = tokens[prefix:]
        examples.append(Example(None, tuple(tokens.tolist()), prefix))
    return audio_features, inputs, labels, examples


def caching(main, examples, folder, tokens="all", dtype="fp16", **losses) -> Teacher:
    """A teacher with an empty cache."""
    settings = Distill(teacher_tokens=tokens, cache_dtype=dtype, losses=Losses(**losses))
    return Teacher(main, settings, teacher_cache(folder, examples, settings, main.config.d_model, {}))


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("tokens", ["all", 8])
def test_teacher_targets_are_the_same_whether_they_are_read_or_computed(main, batch, tmp_path, dtype, tokens):
    audio_features, inputs, labels, examples = batch
    teacher = caching(main, examples, tmp_path, tokens, dtype)
    module = DistillationLoss(build_student(main, (0,)), teacher.settings)

    def loss(teacher, rows) -> torch.Tensor:
        some = [x[rows] for x in (audio_features, inputs, labels)]
        return module(*some, teacher.targets(*some, rows)).total

    first = loss(teacher, [0, 2])
    WRITES.flush()
    mixed_rows = loss(teacher, [2, 1, 0])  # two read, one computed
    WRITES.flush()
    head_alone = Teacher(SimpleNamespace(proj_out=main.proj_out), teacher.settings, teacher.cache)  # no decoder
    assert torch.equal(loss(head_alone, [0, 2]), first)
    assert torch.equal(loss(head_alone, [2, 1, 0]), mixed_rows)
    torch.testing.assert_close(loss(Teacher(main, teacher.settings), [2, 1, 0]), mixed_rows)


@pytest.mark.parametrize(("temperature", "dtype"), [(1.0, "fp32"), (2.0, "fp32"), (2.0, "fp16"), (2.0, "bf16")])
def test_all_and_every_token_of_the_vocabulary_are_one_loss_and_fewer_less(main, batch, tmp_path, temperature, dtype):
    audio_features, inputs, labels, examples = batch
    student = build_student(main, (0,))
    with torch.no_grad():
        student.model.decoder.layers[0].fc2.weight += 0.5

    def loss(tokens, dtype) -> torch.Tensor:
        folder = tmp_path / f"{tokens}-{dtype}"
        teacher = caching(main, examples, folder, tokens, dtype, cross_entropy=0.0, temperature=temperature)
        teacher.targets(audio_features, inputs, labels, [0, 1, 2])
        module = DistillationLoss(student, teacher.settings)
        return module(audio_features, inputs, labels, teacher.targets(audio_features, inputs, labels, [0, 1, 2])).total

    exact, size = loss("all", "fp32"), main.config.vocab_size
    close = {} if dtype == "fp32" else {"rtol": 0.02 if dtype == "fp16" else 0.1, "atol": 1e-2}
    torch.testing.assert_close(loss(size, dtype), exact, **close)
    torch.testing.assert_close(loss("all", dtype), exact, **close)
    if dtype == "fp32":
        assert loss(8, dtype) < loss(64, dtype) < exact  # the bias of TopKTeacher


@pytest.mark.parametrize("tokens", ["all", 8])
def test_cached_teacher_targets_keep_their_types_under_autocast(main, batch, tmp_path, tokens):
    audio_features, inputs, labels, examples = batch
    teacher = caching(main, examples, tmp_path, tokens)
    plain = teacher.targets(audio_features, inputs, labels, [0, 1, 2])
    with torch.autocast("cpu", torch.bfloat16):
        again = teacher.targets(audio_features, inputs, labels, [0, 1, 2])
    for one, other in zip(plain.rows, again.rows, strict=True):
        assert torch.equal(one, other)
        assert one.dtype == other.dtype


def test_caches_of_other_labels_or_another_temperature_are_built_again(main, batch, tmp_path, caplog):
    *_, examples = batch
    caching(main, examples, tmp_path, 4)
    caching(main, examples, tmp_path, 4)
    assert "it is built again" not in caplog.text
    caching(main, examples[::-1], tmp_path, 4)
    assert "it is built again" in caplog.text
    caching(main, examples[::-1], tmp_path, 4, temperature=1.5)
    assert "temperature = 2.0, not 1.5; it is built again" in caplog.text
    assert digest_of([1]) != digest_of([2])


def windows(demo_data, count: int) -> list[Window]:
    files = sorted((demo_data / "train").glob("*.wav"))[:count]
    return [Window((Clip(str(file), file, 2.0, None, None),)) for file in files]


def keeping(settings, main, demo_data, tmp_path, count=6, share=1.0) -> CachePolicy:
    """`share`: of a full window that a window takes."""
    log_mel = LogMel(load_processor(demo_data / "micro-whisper").feature_extractor)
    frames = share * main.config.max_source_positions
    return CachePolicy.chosen(settings, main, log_mel, windows(demo_data, count), frames, tmp_path)


@pytest.mark.parametrize("tokens", ["all", 8])
def test_auto_measures_once_and_prints_what_it_found(main, demo_data, tmp_path, tokens):
    found = keeping(Distill(teacher_tokens=tokens), main, demo_data, tmp_path)
    assert "ms a window to compute" in str(found)
    assert not (tmp_path / "probe").exists()
    again = CachePolicy.chosen(Distill(), None, None, [], 0, tmp_path)  # nothing to measure with
    assert again == found


@pytest.mark.parametrize(("slow", "kept"), [("WindowCache.read", False), ("LogMel.__call__", True)])
def test_auto_keeps_what_is_cheaper_to_read(main, demo_data, tmp_path, monkeypatch, slow, kept):
    clock = [0.0]
    monkeypatch.setattr("whisper_pair.runs.clock.time.perf_counter", lambda: clock[0])
    rooms = {"WindowCache.read": "whisper_pair.training.window_cache", "LogMel.__call__": "whisper_pair.audio.log_mel"}
    room = rooms[slow]
    monkeypatch.setattr(f"{room}.{slow}", slowed(clock, slow, monkeypatch, room))
    assert keeping(Distill(), main, demo_data, tmp_path).states is kept


def slowed(clock, name: str, monkeypatch, room: str):
    """The same, taking a second by a clock that nothing else moves."""
    import importlib

    owner, method = name.split(".")
    plain = getattr(getattr(importlib.import_module(room), owner), method)

    def call(*arguments, **more):
        clock[0] += 1
        return plain(*arguments, **more)

    return call


def test_auto_leaves_half_of_the_disk(main, demo_data, tmp_path, monkeypatch):
    import shutil

    room = 2 * 5 * main.config.max_source_positions * main.config.d_model * 2  # half of it holds five windows, not six
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(room, 0, room))
    monkeypatch.setattr("distill.cache_policy._seconds", lambda action, device, **more: 0.0 if more else 1.0)
    found = keeping(Distill(), main, demo_data, tmp_path / "full")
    assert (found.states, found.teacher) == (False, True)
    assert "that may be filled" in found.why
    assert keeping(Distill(), main, demo_data, tmp_path / "short", share=0.8).states  # five full ones hold as much


@pytest.mark.parametrize(
    ("wanted", "available", "layers"), [(1, 8, (0,)), (2, 8, (0, 7)), (3, 32, (0, 16, 31)), ((2, 5), 6, (2, 5))]
)
def test_layers_are_spaced_evenly_or_as_listed(wanted, available, layers):
    assert chosen_layers(wanted, available) == layers


def test_a_student_starts_from_another_assistant(main):
    other = build_student(main, (0, 7))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.5
    student = build_student(main, (0, 7), other)
    ours, theirs = student.model.decoder, other.model.decoder
    assert torch.equal(ours.layers[1].fc1.weight, theirs.layers[1].fc1.weight)
    assert torch.equal(ours.layer_norm.weight, theirs.layer_norm.weight)
    assert torch.equal(ours.embed_tokens.weight, main.model.decoder.embed_tokens.weight)
    assert torch.equal(build_student(main, (0, 7), other, True).proj_out.weight, theirs.embed_tokens.weight)


def test_a_start_that_does_not_fit_is_refused(main, demo_data, tmp_path):
    build_student(main, (0, 7)).save_pretrained(tmp_path)
    check_start(tmp_path, demo_data / "micro-whisper", (0, 3))
    with pytest.raises(InputError, match=r"distill\.start: .* has decoder_layers 2, the student 1"):
        check_start(tmp_path, demo_data / "micro-whisper", (0,))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [("vocab_size", 51866, "must share its main's vocabulary"), ("d_model", 64, "decoder of width 64")],
)
def test_a_start_of_another_vocabulary_or_encoder_is_refused(main, demo_data, tmp_path, key, value, message):
    build_student(main, (0,)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {key: value}))
    with pytest.raises(InputError, match=message):
        check_start(tmp_path, demo_data / "micro-whisper", (0,))


def test_embeddings_are_trained_only_where_configured(main, batch):
    audio_features, inputs, labels, _ = batch
    for trained in (False, True):
        student = build_student(main, (0,))
        module = DistillationLoss(student, Distill(train_embeddings=trained))
        module(
            audio_features, inputs, labels, Teacher(main, Distill()).targets(audio_features, inputs, labels, range(3))
        ).total.backward()
        assert (student.model.decoder.embed_tokens.weight.grad is not None) == trained
        assert np.isfinite(student.model.decoder.layers[0].fc1.weight.grad.numpy()).all()
    assert all(parameter.grad is None for parameter in main.parameters())


def test_weights_since_the_last_mismatch_take_part_in_training(main, batch):
    audio_features, inputs, labels, _ = batch
    student = build_student(main, (0,))
    known = Teacher(main, Distill()).targets(audio_features, inputs, labels, range(3))
    hidden = student.model.decoder(input_ids=inputs, encoder_hidden_states=audio_features).last_hidden_state
    agreed = torch.where(labels == IGNORE, IGNORE, (hidden @ student.proj_out.weight.T).argmax(-1))
    agreed[0, 4:] = labels[0, 4:]  # labels that the student mostly agrees with

    def loss(decay: float) -> float:
        settings = Distill(losses=Losses(mismatch_decay=decay))
        return DistillationLoss(student, settings)(audio_features, inputs, agreed, known).total.item()

    assert loss(1.0) != pytest.approx(loss(0.5), rel=1e-3)


def test_rejected_drafts_are_shown_in_place(demo_data):
    tokenizer = load_processor(demo_data / "micro-whisper").tokenizer
    tokens = [*tokenizer(" de kat zat", add_special_tokens=False).input_ids, tokenizer.eos_token_id]
    drafted = list(tokens)
    drafted[-1] = tokenizer(" op", add_special_tokens=False).input_ids[0]
    example = DraftExample("a|b.wav", tokens, drafted)
    assert marked(DraftExample("a", tokens, tokens), tokenizer).startswith("de kat zat")
    assert "~~" not in marked(DraftExample("a", tokens, tokens), tokenizer)
    rejected = tokenizer.decode(drafted[-1:]).strip()
    assert marked(example, tokenizer) == f"de kat zat ~~{rejected}~~ **&lt;\\|endoftext\\|>**"
    *_, last = table([example], tokenizer).splitlines()
    assert last.endswith(f"| {len(tokens) - 1} of {len(tokens)} |")
    assert len(re.findall(r"(?<!\\)\|", last)) == 5


def test_held_out_clips_are_joined_as_training_joins_them(write_config, tmp_path):
    config = load_config(write_config(tmp_path / "pair.yaml"))
    clips = [Clip(f"{i}", tmp_path / "a.wav", 1.0, "x", None) for i in range(7)]
    found = joined(clips, config, 4.0)
    assert [len(each.window.clips) for each in found] == [3, 3]  # the seventh would stand alone
    assert joined(clips, dataclasses.replace(config, data=dataclasses.replace(config.data, pack=False)), 4.0) == []


def test_labels_do_not_need_what_the_main_was_not_trained_to_do(caplog):
    wanted = Data((), (), (), timestamps=0.5, previous_text=0.2)
    forgetful = Capabilities(0.0, 0.0, ("transcribe",), ("nl",))
    assert taught(wanted, forgetful) == dataclasses.replace(wanted, timestamps=0.0, previous_text=0.0)
    assert "labels without timestamps: the main was trained without them" in caplog.text
    assert taught(wanted, Capabilities(0.3, 0.1, ("transcribe",), ("nl",))) == wanted
    caplog.clear()
    assert taught(wanted, None) == wanted  # of a main made elsewhere nothing is known
    assert "set data.timestamps: 0 if the main" in caplog.text
