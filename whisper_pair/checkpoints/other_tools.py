"""The files that other tools read beside a checkpoint, which transformers 5 reads and no longer writes.

CTranslate2's converter and faster-whisper take the number of mel bins from preprocessor_config.json (without it, 80),
whisper.cpp's converter takes the tokens from vocab.json and added_tokens.json.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import WhisperProcessor

END = "<|endoftext|>"  # OpenAI's vocab.json has it, added_tokens.json all that come after it


def write_for_other_tools(processor: "WhisperProcessor", folder: Path) -> None:
    """preprocessor_config.json, vocab.json, merges.txt, added_tokens.json and, for English texts, normalizer.json."""
    processor.feature_extractor.save_pretrained(folder)
    tokenizer = json.loads(processor.tokenizer.backend_tokenizer.to_str())
    added = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    vocabulary = dict(tokenizer["model"]["vocab"])
    if END in added:
        vocabulary[END] = added.pop(END)
    _write_json(folder / "vocab.json", _by_id(vocabulary))
    _write_json(folder / "added_tokens.json", _by_id(added))
    merges = (pair if isinstance(pair, str) else " ".join(pair) for pair in tokenizer["model"]["merges"])
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    spelling = getattr(processor.tokenizer, "english_spelling_normalizer", None)
    if spelling:
        _write_json(folder / "normalizer.json", spelling)


def _by_id(tokens: dict[str, int]) -> dict[str, int]:
    return dict(sorted(tokens.items(), key=lambda item: item[1]))


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
