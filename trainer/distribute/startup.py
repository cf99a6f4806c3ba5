"""Starts TensorFlow: its memory kept, and without its lines about GPUs that are not there."""

import contextlib
import ctypes
import os
import re
import sys
import tempfile

_NOISE = re.compile(
    rb"^(WARNING: All log messages before absl|[IWE]\d{4} [^\]]*(cuda|cudart|cuInit|cpu_feature_guard|port\.cc))"
)


# glibc's malloc.h; larger thresholds for mmap are refused.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_MMAP_BYTES, _PAD_BYTES, _TRIM_BYTES = 32 << 20, 64 << 20, (1 << 31) - 1


def keep_freed_memory() -> None:
    """Has the C library keep the memory that a training step frees, for the next step.

    By default glibc hands each large buffer back to the system and asks for it anew:
    on two cores `compact` took 10.3 ms a picture that way, half of it in the kernel,
    and 5.6 ms with the memory kept. Elsewhere than on glibc it does nothing.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        for option, value in (
            (_M_MMAP_THRESHOLD, _MMAP_BYTES),
            (_M_TOP_PAD, _PAD_BYTES),
            (_M_TRIM_THRESHOLD, _TRIM_BYTES),
        ):
            library.mallopt(option, value)


def start_tensorflow() -> None:
    """Imports TensorFlow and lists its devices; what is written to standard error meanwhile is shown after, less noise.

    The lines come from C++ before any of TensorFlow's settings of its log is read
    (2.21), so the file descriptor itself is turned aside.
    """
    keep_freed_memory()
    sys.stderr.flush()
    real = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        finally:
            os.dup2(real, 2)
            os.close(real)
            aside.seek(0)
            kept = [line for line in aside if not _NOISE.match(line)]
            sys.stderr.write(b"".join(kept).decode(errors="replace"))
