"""Engines and caches of one evaluation: as few as its pairs need."""

import shutil
import traceback
import weakref
from types import SimpleNamespace

import pytest
import torch

from eval.evaluate import evaluate
from eval.measuring import cost, decoded_clips
from eval.measuring.engines import Assistant, Engines
from tests.eval.reports import report_of
from whisper_pair.checkpoints.load import load_draft, load_main
from whisper_pair.decoding.engine import Engine
from whisper_pair.decoding.kv_cache import SharedCache
from whisper_pair.decoding.options import Options
from whisper_pair.decoding.round_times import RoundTimes
from whisper_pair.errors import InputError


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


def test_there_is_one_engine_a_pair_and_one_cache_of_the_main(eval_config, pair, tmp_path, monkeypatch, alive):
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
    config = eval_config(compare=[str(tmp_path / "other")], draft_tokens=[1, 2], batch_sizes=[1, 2])
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
        assert engine.caches._main_cache is one.caches.shared.cache
    assert one.caches.shared.cache.capacity == 3
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
    main_alone = Options(language="nl", draft_tokens=0)
    assert [r.tokens for r in engine.decode(features, main_alone)] == [
        r.tokens for r in Engine(main).decode(features, main_alone)
    ]
