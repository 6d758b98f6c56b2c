"""Speech longer than a window: the same tokens, segments and word times as transformers' long-form greedy generate."""

import itertools
import sys
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import soundfile
import torch

from tests.decoding.models import END, FIRST_TIMESTAMP, FRAMES, MELS, cut, tiny_whisper
from whisper_pair import Pair
from whisper_pair.audio.reading import read_audio
from whisper_pair.audio.sound import Sound
from whisper_pair.checkpoints.load import load_main, load_processor
from whisper_pair.decoding.engine import Engine
from whisper_pair.decoding.options import Options
from whisper_pair.errors import InputError
from whisper_pair.longform import transcribe
from whisper_pair.longform.alignment import warping_path
from whisper_pair.longform.features import InPieces, file_spectrogram, quiet_cuts, silence, spectrogram
from whisper_pair.longform.segments import chunked, sequential

WINDOW = 2 * FRAMES


class Tokenizer:
    """Writes tokens as their numbers."""

    def __init__(self):
        self.added_tokens_decoder = {}

    def decode(self, tokens, skip_special_tokens=False):
        return f" {tokens}"


def tiny_pair(seed: int, assisted: bool = True, **more) -> SimpleNamespace:
    main = tiny_whisper(seed, **more)
    main.generation_config.alignment_heads = [[0, 1], [2, 0], [2, 1]]
    engine = Engine(main, cut(main) if assisted else None)
    return SimpleNamespace(main=main, engine=engine, processor=SimpleNamespace(tokenizer=Tokenizer()))


def recordings(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(MELS, frames, generator=generator) * 2 for frames in lengths]


def theirs(main, features, **more):
    """transformers' segments of one recording: (start, end, tokens) each."""
    out = main.generate(
        features[None],
        attention_mask=torch.ones(1, features.shape[1], dtype=torch.long),
        language="nl",
        task="transcribe",
        return_timestamps=True,
        condition_on_prev_tokens=False,
        return_segments=True,
        **more,
    )
    return [(round(float(s["start"]), 3), round(float(s["end"]), 3), s["tokens"].tolist()) for s in out["segments"][0]]


def ours(pair, audio, **more):
    options = Options(**{"language": "nl", "timestamps": True, "batch_size": 3, "draft_tokens": 3} | more)
    transcribed = dict(transcribe(pair, audio, options))
    return [[(s.start, s.end, s.tokens) for s in transcribed[index].segments] for index in range(len(audio))]


MODELS = [(0, 3.0), (2, 3.0), (5, 5.0), (3, 1.0), (7, 1.0), (1, 5.0)]  # seed, pull to the end


@pytest.mark.parametrize(("seed", "end"), MODELS)
def test_recordings_of_any_length_equal_transformers(seed, end):
    pair = tiny_pair(seed, end=end)
    audio = recordings([WINDOW, 41, 130], seed)
    wanted = [theirs(pair.main, features) for features in audio]
    assert ours(pair, audio) == wanted
    assert ours(pair, audio, batch_size=8, draft_tokens=0) == wanted
    assert max(map(len, wanted)) > 1


def test_the_random_models_take_every_way_through_a_window():
    ways = set()
    for seed, end in MODELS:
        windows = torch.stack(recordings([WINDOW] * 6, seed))
        options = Options(language="nl", timestamps=True, draft_tokens=0)
        for row in tiny_pair(seed, end=end).engine.decode(windows, options):
            stamped = [token >= FIRST_TIMESTAMP for token in row.tokens if token != END]
            pairs = any(a and b for a, b in itertools.pairwise(stamped))
            ways.add((pairs, stamped[-2:] == [False, True]))
    assert len(ways) == 4


def test_silent_windows_are_passed_over_as_transformers_does():
    kept, every = [], []
    for seed, end in MODELS[:2]:
        pair = tiny_pair(seed, end=end)
        (features,) = recordings([150], seed)
        every += theirs(pair.main, features)
        wanted = theirs(pair.main, features, temperature=(0.0,), no_speech_threshold=0.005, logprob_threshold=-0.5)
        kept += wanted
        assert ours(pair, [features], no_speech_threshold=0.005, log_probability_threshold=-0.5) == [wanted]
    assert 0 < len(kept) < len(every)


@pytest.mark.parametrize("seed", [0, 2])
def test_tokens_end_when_transformers_ends_them(seed):
    pair = tiny_pair(seed)
    for frames in (90, WINDOW):
        (features,) = recordings([frames], seed)
        out = pair.main.generate(
            features[None],
            attention_mask=torch.ones(1, frames, dtype=torch.long),
            language="nl",
            task="transcribe",
            return_timestamps=True,
            condition_on_prev_tokens=False,
            return_segments=True,
            return_token_timestamps=True,
        )
        wanted = [(s["tokens"].tolist(), s["token_timestamps"].tolist()) for s in out["segments"][0]]
        assert token_ends_of(pair, features) == [(tokens, pytest.approx(ends, abs=1e-5)) for tokens, ends in wanted]


def token_ends_of(pair, features):
    """(tokens, their ends in seconds) of each segment, through the recording's own loop."""
    found = []

    def spy(tokenizer, tokens, ends, offset, end, language):
        found.append((tokens, [offset + at for at in ends[1:]]))
        return []

    with patch("whisper_pair.longform.transcribe.words", spy):
        list(transcribe(pair, [features], Options(timestamps=True, language="nl", draft_tokens=2), word_times=True))
    return found


def test_the_warping_path_is_the_cheapest_of_all():
    def cheapest(costs):
        rows, columns = costs.shape
        best = np.full((rows, columns), np.inf)
        for i in range(rows):
            for j in range(columns):
                before = [best[a, b] for a, b in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if a >= 0 and b >= 0]
                best[i, j] = costs[i, j] + (min(before) if before else 0)
        return best[-1, -1]

    generator = np.random.default_rng(0)
    for shape in ((1, 5), (4, 1), (6, 9), (9, 6)):
        costs = generator.normal(size=shape)
        rows, columns = warping_path(costs)
        assert (rows[0], columns[0], rows[-1], columns[-1]) == (0, 0, shape[0] - 1, shape[1] - 1)
        assert set(zip(np.diff(rows), np.diff(columns), strict=True)) <= {(0, 1), (1, 0), (1, 1)}
        assert costs[rows, columns].sum() == pytest.approx(cheapest(costs), abs=1e-5)


def test_an_unfinished_segment_is_read_again_but_kept_where_nothing_overlaps():
    at = [0, 10, 10, 18]  # steps; text tokens are below 100
    tokens = [100 + at[0], 1, 100 + at[1], 100 + at[2], 2, 3]
    spans, onward = sequential(tokens, 40, 2, range(100, 200))
    assert [(s.start, s.end, tokens[s.first : s.last]) for s in spans] == [(0, 10, [100, 1, 110, 110])]
    assert onward == 20
    spans = chunked(tokens, 40, 2, range(100, 200))
    assert [(s.start, s.end, tokens[s.first : s.last]) for s in spans] == [
        (0, 10, [100, 1, 110]),
        (10, 20, [110, 2, 3]),
    ]
    closed = [*tokens, 118]
    spans, onward = sequential(closed, 36, 2, range(100, 200))
    assert ([(s.start, s.end) for s in spans], onward) == ([(0, 10), (10, 18)], 36)


def test_windows_are_cut_where_it_is_quiet_and_cover_everything_once():
    features = torch.ones(4, 1000)
    features[:, 250:290] = 0
    features[:, 520:560] = 0
    cuts = quiet_cuts(features, 1000, 300)
    assert 250 <= cuts[1][0] < 290
    assert 520 <= cuts[2][0] < 560
    assert all(frames <= 300 for _, frames in cuts)
    assert [first for first, _ in cuts[1:]] == [first + frames for first, frames in cuts[:-1]]
    assert cuts[-1][0] + cuts[-1][1] == 1000


@pytest.fixture(scope="module")
def pair(demo_data) -> Pair:
    main = load_main(demo_data / "micro-whisper", torch.float32)
    return Pair(main, main, load_processor(demo_data / "micro-whisper"))


@pytest.fixture(scope="module")
def long_audio(demo_data) -> list[np.ndarray]:
    clips = [read_audio(file) for file in sorted((demo_data / "test").glob("*.wav"))]
    return [np.concatenate(clips), np.concatenate(clips[3:] * 2), clips[0]]


def test_a_long_spectrogram_in_blocks_equals_the_stock_feature_extractors(pair, long_audio, monkeypatch):
    monkeypatch.setattr("whisper_pair.longform.features.BLOCK", 300)
    for samples in long_audio[:2]:
        stock = pair.processor.feature_extractor(
            samples, sampling_rate=16_000, truncation=False, padding="longest", return_tensors="pt"
        ).input_features[0]
        found, frames = spectrogram(pair.log_mel, samples, torch.device("cpu"))
        assert found.shape == stock.shape
        assert frames == stock.shape[1]
        assert torch.allclose(found, stock, atol=1e-4)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_long_file_read_again_window_by_window_gives_what_it_gives_in_memory(
    pair, long_audio, tmp_path, monkeypatch, chunked
):
    soundfile.write(tmp_path / "long.wav", long_audio[0], 16_000, subtype="FLOAT")
    options = Options(timestamps=True, language="nl", batch_size=2, draft_tokens=2, max_new_tokens=12)

    def transcribed(audio):
        ((_, found),) = transcribe(pair, [audio], options, chunked=chunked, word_times=True)
        return found

    in_memory = transcribed(long_audio[0])
    monkeypatch.setattr("whisper_pair.longform.features.KEPT", 0)
    monkeypatch.setattr("whisper_pair.longform.features.BLOCK", 300)
    monkeypatch.setattr(sys.modules["whisper_pair.longform.transcribe"], "WAVE", 2)
    with Sound(tmp_path / "long.wav") as sound:
        features = file_spectrogram(pair.log_mel, sound, torch.device("cpu"))
        assert isinstance(features, InPieces)
        whole, frames = spectrogram(pair.log_mel, long_audio[0], torch.device("cpu"))
        assert features.frames == frames
        for first, last in ((0, frames), (500, 700), (10, 300), (frames - 90, frames)):
            assert torch.allclose(features.stretch(first, last), whole[:, first:last], atol=1e-5)
        assert features.silence == pytest.approx(silence(whole), abs=1e-5)
    found = transcribed(tmp_path / "long.wav")
    assert len(in_memory.segments) > 2
    assert [(s.start, s.end, s.tokens) for s in found.segments] == [
        (s.start, s.end, s.tokens) for s in in_memory.segments
    ]
    assert [s.words for s in found.segments] == [s.words for s in in_memory.segments]


def test_a_recording_that_fails_half_way_ends_alone(pair, long_audio, tmp_path, monkeypatch):
    monkeypatch.setattr("whisper_pair.longform.features.KEPT", 0)
    soundfile.write(tmp_path / "fails.wav", long_audio[0], 16_000)
    stretch, calls, failures = InPieces.stretch, [], []

    def failing(self, first, last):
        calls.append(first)
        if len(calls) > 1:
            raise OSError("the disk is gone")
        return stretch(self, first, last)

    monkeypatch.setattr(InPieces, "stretch", failing)
    options = Options(timestamps=True, language="nl", batch_size=2, draft_tokens=0, max_new_tokens=8)
    audio = [tmp_path / "fails.wav", long_audio[2], long_audio[1]]
    transcribed = dict(
        transcribe(pair, audio, options, on_failure=lambda index, error: failures.append((index, str(error))))
    )
    assert sorted(transcribed) == [1, 2]
    assert failures == [(0, "the disk is gone")]


def test_sound_in_text_and_segments_out(pair, long_audio):
    inputs = pair.processor.feature_extractor(
        long_audio[0], sampling_rate=16_000, truncation=False, padding="longest", return_tensors="pt"
    )
    stock = pair.main.generate(
        inputs.input_features,
        language="nl",
        task="transcribe",
        return_timestamps=True,
        condition_on_prev_tokens=False,
        max_new_tokens=24,
    )
    special = pair.engine.special
    wanted = pair.processor.tokenizer.decode([t for t in stock[0].tolist() if t < special.end]).strip()
    transcribed = pair.transcribe_long(long_audio, language="nl", batch_size=2, draft_tokens=4, word_times=True,
                                 timestamps=True, max_new_tokens=24)  # fmt: skip
    assert transcribed[0].text == wanted
    for samples, transcription in zip(long_audio, transcribed, strict=True):
        assert transcription.seconds == pytest.approx(len(samples) / 16_000, abs=0.02)
        assert transcription.language == "nl"
        for segment in transcription.segments:
            assert "".join(word.text for word in segment.words).split() == segment.text.split()


def test_chunks_cover_the_recording_and_detect_its_language_once(pair, long_audio):
    progress_calls = []
    options = Options(timestamps=True, batch_size=2, draft_tokens=2, max_new_tokens=30)
    transcribed = dict(
        transcribe(
            pair, long_audio, options, chunked=True, on_progress=lambda *progress: progress_calls.append(progress)
        )
    )
    for index, samples in enumerate(long_audio):
        assert transcribed[index].language in pair.engine.special.languages
        assert transcribed[index].segments[-1].end <= len(samples) / 16_000 + 4
        assert max(seconds for i, seconds, _ in progress_calls if i == index) == pytest.approx(
            transcribed[index].seconds
        )


def test_one_recording_that_cannot_be_read_does_not_stop_the_others(pair, long_audio, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    failures = []
    options = Options(timestamps=True, language="nl", draft_tokens=0, max_new_tokens=8)
    transcribed = dict(
        transcribe(pair, [tmp_path / "bad.wav", long_audio[2]], options,
                   on_failure=lambda index, error: failures.append((index, str(error))))
    )  # fmt: skip
    assert list(transcribed) == [1]
    assert failures[0][0] == 0
    assert "bad.wav" in failures[0][1]
    with pytest.raises(InputError, match=r"bad\.wav"):
        list(transcribe(pair, [tmp_path / "bad.wav"], options))


def test_a_main_that_forgot_timestamps_is_decoded_in_chunks_without_them(pair, long_audio):
    plain = pair.transcribe([long_audio[2]], language="nl", max_new_tokens=20)[0].text
    (transcribed,) = pair.transcribe_long(
        [long_audio[2]], language="nl", chunked=True, timestamps=False, max_new_tokens=20
    )
    assert transcribed.text == plain
    with pytest.raises(InputError, match="sequential"):
        pair.transcribe_long([long_audio[2]], language="nl", timestamps=False)
