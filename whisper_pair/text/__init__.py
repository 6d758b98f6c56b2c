"""Text: normalization, error rates, languages, and tokens as text."""

from .compression import compression_ratio
from .error_rates import WITHOUT_SPACES, ErrorRate, aligned_errors, error_rates, metric_name, pooled
from .languages import Corpus, OtherCorpus, code_of, corpora, lacks, language_table, licence, name_of, other_corpora
from .normalization import Normalizer, normalization_name
from .token_text import CONTROL, added_words, text_of

__all__ = [
    "CONTROL",
    "WITHOUT_SPACES",
    "Corpus",
    "ErrorRate",
    "Normalizer",
    "OtherCorpus",
    "added_words",
    "aligned_errors",
    "code_of",
    "compression_ratio",
    "corpora",
    "error_rates",
    "lacks",
    "language_table",
    "licence",
    "metric_name",
    "name_of",
    "normalization_name",
    "other_corpora",
    "pooled",
    "text_of",
]
