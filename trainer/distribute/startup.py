"""Start of TensorFlow: an allocator that keeps freed memory, and no log lines about missing GPUs."""

import contextlib
import ctypes
import os
import re
import sys
import tempfile

from tfrecords.interrupts import ending_at_once

_NOISE = re.compile(
    rb"^(WARNING: All log messages before absl|[IWE]\d{4} [^\]]*(cuda|cudart|cuInit|cpu_feature_guard|port\.cc))"
)


# Options of glibc's malloc.h, which refuses larger thresholds for mmap.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_MMAP_BYTES, _PAD_BYTES, _TRIM_BYTES = 32 << 20, 64 << 20, (1 << 31) - 1


def keep_freed_memory() -> None:
    """Makes the C library keep the memory that a training step frees, for the next step.

    By default glibc returns each large buffer to the system and requests it again. On two cores `compact` took 10.3 ms
    per image that way, half of it in the kernel, and 5.6 ms with the memory kept. With other C libraries the function
    does nothing.
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
    """Imports TensorFlow and lists its devices, without the log lines that say nothing to a user.

    Does nothing if TensorFlow is already imported. Call it before the first import of Keras, whose backend it chooses.

    These lines come from C++ before TensorFlow reads its log settings (2.21). So standard error is redirected at the
    file descriptor, and the remaining lines are printed afterwards.
    """
    if sys.modules.get("tensorflow"):
        return
    # Hides TensorFlow's start-up lines about its CPU build; errors are still printed.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    keep_freed_memory()
    sys.stderr.flush()
    real = os.dup(2)
    # The line about a signal goes to what standard error is now: `ending_at_once` is entered before it is redirected.
    with tempfile.TemporaryFile() as aside, ending_at_once():
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
