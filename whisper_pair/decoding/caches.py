"""The caches of one engine: the main's, which it may share with other engines, and its draft's.

They grow with the rows and windows that are decoded and never shrink, so that calls in turn do not make each other's
graphs invalid.
"""

from .decoder import Decoder
from .graphs import Graphs
from .kv_cache import KVCache, SharedCache
from .short_windows import bucketed


class Caches:
    """The main's and the draft's. What was captured over them is forgotten when they move."""

    def __init__(self, main: Decoder, draft: Decoder | None, graphs: Graphs, full: int):
        self.main, self.draft, self.graphs = main, draft, graphs
        self.full = full  # frames of a full window
        self.shared = SharedCache()
        self._main_cache: KVCache | None = None
        self._draft_cache: KVCache | None = None
        self._frames = 0  # of the main's cache, as the graphs know it: another engine may have widened it

    def of(self, rows: int, frames: int) -> tuple[KVCache, KVCache | None]:
        """For at least so many rows and frames. frames 0: not known before the first window is drawn (see `widen`)."""
        frames = bucketed(frames, self.full)
        main = self.shared.grow(self.main, rows, frames, self._forget)
        if main is not self._main_cache or main.frames != self._frames:
            self._forget()
            self._main_cache, self._frames = main, main.frames
        if self.draft is None:
            return main, None
        if self._draft_cache is None:
            self._draft_cache = KVCache(self.draft, main.capacity, main.frames)
        return main, self._draft_cache

    def widen(self, frames: int, used: int) -> None:
        """Within a call, where a window is longer than those before it. The first `used` rows keep their keys."""
        main = self._main_cache
        if main is None or frames <= main.frames:
            return
        self.graphs.clear()
        for cache in filter(None, (main, self._draft_cache)):
            cache.widen(bucketed(frames, self.full), used)
        self._frames = main.frames

    def needed(self, rows: int, frames: int) -> int:
        """Bytes that caches of so many rows and frames take."""
        decoders = filter(None, (self.main, self.draft))
        return sum(KVCache(decoder, rows, bucketed(frames, self.full), "meta").bytes for decoder in decoders)

    @property
    def bytes(self) -> int:
        """Of memory that they hold."""
        return sum(cache.bytes for cache in (self._main_cache, self._draft_cache) if cache is not None)

    def _forget(self) -> None:
        """And the graphs that read them."""
        self._main_cache = self._draft_cache = None
        self.graphs.clear()
