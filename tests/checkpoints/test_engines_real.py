"""Checkpoints of ours in other engines, with real weights: the same text as here, at 80 and 128 mel bins."""

import os
from pathlib import Path

import pytest
import torch
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

from whisper_pair import Pair
from whisper_pair.audio.reading import read_audio
from whisper_pair.checkpoints import save_model, save_processor, to_ctranslate2
from whisper_pair.checkpoints.load import load_main, load_processor
from whisper_pair.cli import main as command

pytestmark = pytest.mark.real
REALDATA = Path(os.environ.get("WHISPER_PAIR_REALDATA", "."))
ASKED = {"language": "nl", "max_new_tokens": 40}


@pytest.fixture(scope="module")
def clip():
    return read_audio(sorted((REALDATA / "dutch" / "test").rglob("*.[fw][la][av]*"))[0])


def by_faster_whisper(folder: Path, samples) -> str:
    model = pytest.importorskip("faster_whisper").WhisperModel(str(folder), device="cpu", compute_type="float32")
    segments, _ = model.transcribe(samples, beam_size=1, temperature=0.0, without_timestamps=True, **ASKED)
    return "".join(segment.text for segment in segments).strip()


@pytest.mark.parametrize("bins", [80, 128])
def test_faster_whisper_takes_a_main_and_writes_its_text(bins, clip, tmp_path):
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
    (ours,) = Pair.from_pretrained(tmp_path / "main", None).transcribe([clip], **ASKED)
    assert ours.text
    assert by_faster_whisper(tmp_path / "converted", clip) == ours.text


def test_an_exported_pair_is_a_main_and_a_whole_assistant(clip, tmp_path, capsys):
    base, tiny = (str(REALDATA / name) for name in ("whisper-base", "whisper-tiny"))
    arguments = ["export", "--main", base, "--assistant", tiny, "--to", "ctranslate2", "--out", str(tmp_path / "out")]
    pytest.importorskip("ctranslate2")
    assert command([*arguments, "--quantization", "int8"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in said] == [f"{tmp_path}/out/main", f"{tmp_path}/out/assistant"]
    for part in ("main", "assistant"):
        assert by_faster_whisper(tmp_path / "out" / part, clip)
    assert command(arguments) == 2
    assert "is there already" in capsys.readouterr().err
