"""Checkpoints: where they are, whether they are whole, how they are loaded, and pair.json."""

from .capabilities import CAPABILITIES_FILE, Capabilities, ShortWindows
from .ctranslate2 import QUANTIZATIONS, refuse_missing_converter, to_ctranslate2
from .download import WEIGHTS
from .draft_trees import DRAFT_TREES_FILE, load_draft_trees, save_draft_trees
from .draft_vocabulary import DRAFT_VOCABULARY_FILE, DraftVocabulary, draft_token_ids
from .generation_config import GENERATION_CONFIG_FILE, completed, default_alignment_heads, fits, say
from .identity import check_pair, encoder_sha256, vocabulary_sha256, weight_digests
from .load import (
    load_draft,
    load_main,
    load_processor,
    read_config,
    save_model,
    save_processor,
    share_equal_embeddings,
    standalone_assistant,
)
from .locate import checkpoint_folder, main_folder
from .locate_pair import HUB_ID, add_pair_arguments, locate_pair, pair_from_arguments
from .manifest import PAIR_FILE, PairManifest, origin

__all__ = [
    "CAPABILITIES_FILE",
    "DRAFT_TREES_FILE",
    "DRAFT_VOCABULARY_FILE",
    "GENERATION_CONFIG_FILE",
    "HUB_ID",
    "PAIR_FILE",
    "QUANTIZATIONS",
    "WEIGHTS",
    "Capabilities",
    "DraftVocabulary",
    "PairManifest",
    "ShortWindows",
    "add_pair_arguments",
    "check_pair",
    "checkpoint_folder",
    "completed",
    "default_alignment_heads",
    "draft_token_ids",
    "encoder_sha256",
    "fits",
    "load_draft",
    "load_draft_trees",
    "load_main",
    "load_processor",
    "locate_pair",
    "main_folder",
    "origin",
    "pair_from_arguments",
    "read_config",
    "refuse_missing_converter",
    "save_draft_trees",
    "save_model",
    "save_processor",
    "say",
    "share_equal_embeddings",
    "standalone_assistant",
    "to_ctranslate2",
    "vocabulary_sha256",
    "weight_digests",
]
