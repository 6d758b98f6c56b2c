""""""

from .disk import cache_bytes, require_disk, training_bytes
from .estimate import Estimate, memory_parts, peak_memory, rehearsal
from .files import (
    as_json,
    disk_failure,
    file_digest,
    readable_to_others,
    whole_file,
    write_json,
    write_table,
    write_text,
)
from .launching import PATIENCE, device_type, this_process, warn_of_one_process_alone
from .locks import one_run
from .provenance import hardware, provenance, versions
from .signals import Asked, stopped, stopping
from .stages import Stage, difference, discard
from .throughput import FILE, Work
from .trackers import refuse_missing, started

__all__ = [
    "FILE",
    "PATIENCE",
    "Asked",
    "Estimate",
    "Stage",
    "Work",
    "as_json",
    "cache_bytes",
    "device_type",
    "difference",
    "discard",
    "disk_failure",
    "file_digest",
    "hardware",
    "memory_parts",
    "one_run",
    "peak_memory",
    "provenance",
    "readable_to_others",
    "refuse_missing",
    "rehearsal",
    "require_disk",
    "started",
    "stopped",
    "stopping",
    "this_process",
    "training_bytes",
    "versions",
    "warn_of_one_process_alone",
    "whole_file",
    "write_json",
    "write_table",
    "write_text",
]
