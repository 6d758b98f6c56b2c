"""A run's folder: its stages, whole files, locks, signals, provenance, and what a run will take."""

from .clock import clocked, synchronize
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
from .locks import lock_run
from .provenance import hardware, provenance, versions
from .signals import StopRequest, stop_on_signals, stopped_error
from .stages import Stage, difference, discard
from .throughput import WORK_FILE, Throughput
from .trackers import AudioExample, log_audio, refuse_missing, start_tracker

__all__ = [
    "PATIENCE",
    "WORK_FILE",
    "AudioExample",
    "Estimate",
    "Stage",
    "StopRequest",
    "Throughput",
    "as_json",
    "cache_bytes",
    "clocked",
    "device_type",
    "difference",
    "discard",
    "disk_failure",
    "file_digest",
    "hardware",
    "lock_run",
    "log_audio",
    "memory_parts",
    "peak_memory",
    "provenance",
    "readable_to_others",
    "refuse_missing",
    "rehearsal",
    "require_disk",
    "start_tracker",
    "stop_on_signals",
    "stopped_error",
    "synchronize",
    "this_process",
    "training_bytes",
    "versions",
    "warn_of_one_process_alone",
    "whole_file",
    "write_json",
    "write_table",
    "write_text",
]
