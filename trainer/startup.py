"""Starts TensorFlow without the lines that its CUDA libraries write where there is no GPU."""

import os
import re
import sys
import tempfile

_NOISE = re.compile(
    rb"^(WARNING: All log messages before absl|[IWE]\d{4} [^\]]*(cuda|cudart|cuInit|cpu_feature_guard|port\.cc))"
)


def start_tensorflow() -> None:
    """Imports TensorFlow and lists its devices; what is written to standard error meanwhile is shown after, less noise.

    The lines come from C++ before any of TensorFlow's settings of its log is read
    (2.21), so the file descriptor itself is turned aside.
    """
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
