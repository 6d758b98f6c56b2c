""""""

from .download import WEIGHTS
from .draft_vocabulary import DraftVocabulary, proposable
from .generation_config import FILE, completed, default_alignment_heads, fits, say
from .identity import check_pair, encoder_sha256, vocabulary_sha256
from .load import complete, load_draft, load_main, load_processor, read_config, save_processor, share_equal_embeddings
from .locate import checkpoint_folder, main_folder
from .locate_pair import REPOSITORY, add_pair, pair_at, pair_of
from .manifest import PAIR_FILE, Lineage, origin

__all__ = [
    "FILE",
    "PAIR_FILE",
    "REPOSITORY",
    "WEIGHTS",
    "DraftVocabulary",
    "Lineage",
    "add_pair",
    "check_pair",
    "checkpoint_folder",
    "complete",
    "completed",
    "default_alignment_heads",
    "encoder_sha256",
    "fits",
    "load_draft",
    "load_main",
    "load_processor",
    "main_folder",
    "origin",
    "pair_at",
    "pair_of",
    "proposable",
    "read_config",
    "save_processor",
    "say",
    "share_equal_embeddings",
    "vocabulary_sha256",
]
