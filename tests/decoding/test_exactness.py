"""Every row's tokens are those of transformers' greedy generate, whatever the batch, draft, draft length and rules."""

import pytest

from tests.decoding.models import cut, features, theirs, tiny_whisper, with_own_encoder
from whisper_pair.decoding import Engine, Options


@pytest.mark.parametrize("timestamps", [False, True])
@pytest.mark.parametrize("own_encoder", [False, True])
def test_greedy_and_speculative_rows_equal_transformers(timestamps, own_encoder):
    for seed in (0, 3):
        main, windows = tiny_whisper(seed), features(9, seed)
        expected = theirs(main, windows, language="nl", task="transcribe", return_timestamps=timestamps)
        draft = with_own_encoder(main, 0.05) if own_encoder else cut(main, 2, 0.02)
        engine = Engine(main, draft)
        for batch_size in (1, 4, 9):
            for draft_tokens in (0, 1, 5):
                options = Options(
                    language="nl", timestamps=timestamps, batch_size=batch_size, draft_tokens=draft_tokens
                )
                assert [row.tokens for row in engine.decode(windows, options)] == expected
