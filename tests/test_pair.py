"""Pair.transcribe: files, arrays and features in, the main's own text out."""

import numpy as np
import pytest
import torch

from whisper_pair import Pair
from whisper_pair.audio.log_mel import LogMel
from whisper_pair.audio.reading import read_audio
from whisper_pair.checkpoints.load import load_main, load_processor
from whisper_pair.errors import InputError


@pytest.fixture(scope="module")
def pair(demo_data) -> Pair:
    """The micro Whisper, assisted by itself. Untrained, it would say special tokens, which transformers cuts out."""
    main = load_main(demo_data / "micro-whisper", torch.float32)
    config = main.generation_config
    config.suppress_tokens = sorted({*config.suppress_tokens, *range(config.eos_token_id + 1, main.config.vocab_size)})
    return Pair(main, main, load_processor(demo_data / "micro-whisper"))


def test_files_arrays_and_features_give_the_stock_greedy_text(pair, demo_data):
    files = sorted((demo_data / "test").glob("*.wav"))[:3]
    arrays = [read_audio(file) for file in files]
    log_mel = LogMel(pair.processor.feature_extractor)
    features = log_mel(log_mel.pad(arrays))
    stock = pair.main.generate(input_features=features, language="nl", task="transcribe", max_new_tokens=12)
    wanted = [text.strip() for text in pair.processor.tokenizer.batch_decode(stock, skip_special_tokens=True)]
    for audio in (files, arrays, list(features), [str(files[0]), arrays[1], features[2]]):
        found = pair.transcribe(audio, language="nl", batch_size=2, max_new_tokens=12)
        assert [transcript.text for transcript in found] == wanted
    assert found[0].accepted == found[0].drafted  # it assists itself
    assert found[0].language == "nl"


def test_an_unset_language_is_detected(pair, demo_data):
    (found,) = pair.transcribe([sorted((demo_data / "test").glob("*.wav"))[0]], max_new_tokens=4)
    assert f"<|{found.language}|>" in pair.processor.tokenizer.get_vocab()


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        ("a.wav", "put a single one in a list"),
        (["gone.wav"], "gone.wav"),
        ([np.zeros(0)], "expected samples"),
        ([np.zeros((2, 9))], "expected samples"),
        ([np.full(9, np.nan)], "NaN"),
        ([np.zeros(16_000 * 40)], "longer than the model's window"),
        ([torch.zeros(3, 9)], "features"),
    ],
)
def test_audio_that_cannot_be_used_is_refused(pair, audio, message):
    with pytest.raises(InputError, match=message):
        pair.transcribe(audio, language="nl")


def test_a_language_that_the_main_lacks_is_refused(pair):
    with pytest.raises(InputError, match="xx"):
        pair.transcribe([np.zeros(16_000)], language="xx")


@pytest.mark.parametrize("language", ["Nederlands", "NL", "nl-BE", "Flemish"])
def test_a_language_by_any_name_is_its_code_from_then_on(pair, language):
    clip = np.zeros(16_000, np.float32)
    (found,) = pair.transcribe([clip], language=language, max_new_tokens=2)
    (long,) = pair.transcribe_long([clip], language=language, max_new_tokens=2, chunked=True, timestamps=False)
    assert found.language == long.language == "nl"


@pytest.mark.parametrize("option", [{"batch_size": 2.5}, {"batch_size": 0}, {"timestamps": "no"}, {"task": 1}])
def test_an_option_of_the_wrong_type_is_refused_for_clips_and_recordings(pair, option):
    for call in (pair.transcribe, pair.transcribe_long):
        with pytest.raises(InputError, match=rf"{next(iter(option))} is "):
            call([np.zeros(16_000)], language="nl", **option)
