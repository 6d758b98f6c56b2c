""""""

from .error_rates import WITHOUT_SPACES, ErrorRate, aligned_errors, error_rates, metric_name, pooled
from .languages import Corpus, code_of, corpora, licence, name_of, table
from .normalization import Normalizer
from .token_text import CONTROL, added_words, text_of

__all__ = [
    "CONTROL",
    "WITHOUT_SPACES",
    "Corpus",
    "ErrorRate",
    "Normalizer",
    "added_words",
    "aligned_errors",
    "code_of",
    "corpora",
    "error_rates",
    "licence",
    "metric_name",
    "name_of",
    "pooled",
    "table",
    "text_of",
]
