"""Checkpoints of ours in other engines, with real weights: the same text as here, at 80 and 128 mel bins."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

from whisper_pair import Pair
from whisper_pair.audio.reading import read_audio
from whisper_pair.checkpoints import save_model, save_processor, to_ctranslate2
from whisper_pair.checkpoints.load import load_main, load_processor
from whisper_pair.cli import main as command

pytestmark = pytest.mark.real
REALDATA = Path(os.environ.get("WHISPER_PAIR_REALDATA", ""))
if not (REALDATA / "dutch" / "test" / "metadata.csv").is_file():
    pytest.skip("set WHISPER_PAIR_REALDATA to a folder with whisper-base, whisper-tiny and dutch",
                allow_module_level=True)  # fmt: skip
ASKED = {"language": "nl", "max_new_tokens": 40}


@pytest.fixture(scope="module")
def clip():
    return read_audio(sorted((REALDATA / "dutch" / "test").glob("*.ogg"))[0])


def by_faster_whisper(folder: Path, samples) -> str:
    """What its user gets. Its spectrograms are computed by itself, and differ a little from transformers'."""
    model = pytest.importorskip("faster_whisper").WhisperModel(str(folder), device="cpu", compute_type="float32")
    segments, _ = model.transcribe(samples, beam_size=1, temperature=0.0, without_timestamps=True, **ASKED)
    return "".join(segment.text for segment in segments).strip()


def its_tokens(folder: Path, features: np.ndarray, pair: Pair) -> list[int]:
    """Of the same spectrogram [1, mel, frames], by the model that faster-whisper has loaded."""
    faster_whisper, ctranslate2 = (pytest.importorskip(name) for name in ("faster_whisper", "ctranslate2"))
    loaded = faster_whisper.WhisperModel(str(folder), device="cpu", compute_type="float32")
    assert (loaded.model.n_mels, loaded.feat_kwargs["feature_size"]) == (features.shape[1],) * 2
    special = pair.engine.special
    prefix = special.prefix(special.language_token("nl"), "transcribe", False, None)
    given = ctranslate2.StorageView.from_array(features)
    (row,) = loaded.model.generate(given, [prefix], beam_size=1, suppress_tokens=list(special.suppressed))
    return list(row.sequences_ids[0])


@pytest.mark.parametrize("bins", [80, 128])
def test_faster_whisper_takes_a_main_and_writes_its_tokens(bins, clip, tmp_path):
    """Of 128 bins, whose main would be large, a tiny one whose first convolution is read from 80 of them."""
    main, processor = load_main(REALDATA / "whisper-tiny"), load_processor(REALDATA / "whisper-tiny")
    if bins == 128:
        main.config.num_mel_bins = bins
        whole = WhisperForConditionalGeneration(main.config)
        weights = main.state_dict()
        narrow = weights.pop("model.encoder.conv1.weight")
        whole.load_state_dict(weights, strict=False)
        with torch.no_grad():
            whole.model.encoder.conv1.weight.zero_()[:, :80] = narrow
        whole.generation_config, main = main.generation_config, whole
        processor.feature_extractor = WhisperFeatureExtractor(feature_size=bins)
    save_model(main, tmp_path / "main")
    save_processor(processor, tmp_path / "main")
    to_ctranslate2(tmp_path / "main", tmp_path / "converted")
    pair = Pair.from_pretrained(tmp_path / "main", None)
    features = pair.log_mel(pair.log_mel.pad([clip]))
    (ours,) = pair.transcribe([features[0]], language="nl")
    found = its_tokens(tmp_path / "converted", features.numpy(), pair)
    assert len(found) > 2
    assert found == [token for token in ours.tokens if token != pair.engine.special.end]
    assert by_faster_whisper(tmp_path / "converted", clip)


def test_an_exported_pair_is_a_main_and_a_whole_assistant(clip, tmp_path, capsys):
    base, tiny = (str(REALDATA / name) for name in ("whisper-base", "whisper-tiny"))
    arguments = ["export", "--main", base, "--assistant", tiny, "--to", "ctranslate2", "--out", str(tmp_path / "out")]
    pytest.importorskip("ctranslate2")
    assert command([*arguments, "--quantization", "int8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [f"{tmp_path}/out/main", f"{tmp_path}/out/assistant"]
    for part in ("main", "assistant"):
        assert by_faster_whisper(tmp_path / "out" / part, clip)
    assert command(arguments) == 2
    assert "is there already" in capsys.readouterr().err
