"""Which of Keras's backends to train on: one that sees a GPU. Each is asked in a process of its own.

print(choose("auto").why)
"""

import importlib.util
import subprocess
import sys
from dataclasses import dataclass

from tfrecords.errors import UserError

PROBES = {
    "jax": "import jax; print(*[one.device_kind for one in jax.devices() if one.platform != 'cpu'][:1])",
    "torch": "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')",
    "tensorflow": (
        "import tensorflow as tf; print(*[tf.config.experimental.get_device_details(one).get('device_name', 'GPU')"
        " for one in tf.config.list_physical_devices('GPU')][:1])"
    ),
}
"""What prints a GPU's name, or nothing. In order of preference: JAX compiles a step as a whole, PyTorch does not."""
PRECISIONS = {"mixed_bfloat16": "bfloat16", "tf32": "float32", "float32": "float32"}
"""How products are computed: what their operands are stored in."""
_SECONDS = 120


@dataclass(frozen=True)
class Choice:
    """A backend to train on.

    Attributes:
      backend: Keras's name of it.
      device: the GPU's name, or "CPU".
      why: a sentence that says so.
    """

    backend: str
    device: str
    why: str

    @property
    def has_gpu(self) -> bool:
        return self.device != "CPU"


def choose(wish: str) -> Choice:
    """Returns the backend of that name; for "auto" the first that sees a GPU, and where none does the first.

    Nothing is imported into this process: two frameworks in one would share a GPU's memory, and Keras takes its
    backend when it is first imported.

    Raises:
      UserError: it is not installed.
    """
    there = [name for name in PROBES if importlib.util.find_spec(name) is not None]
    if wish != "auto":
        if wish not in there:
            rule = f"--backend must be a package that is installed here: {', '.join(there) or 'none of them is'}."
            raise UserError(rule, wish)
        device = find_gpu(wish) or "CPU"
        return Choice(wish, device, f"{wish}, as asked for, on {device}.")
    if not there:
        raise UserError(f"One of {', '.join(PROBES)} must be installed.")
    for name in there:
        if device := find_gpu(name):
            return Choice(name, device, f"{name}, which sees a GPU: {device}.")
    return Choice(there[0], "CPU", f"{there[0]} on the CPU: of {', '.join(there)} none sees a GPU.")


def find_gpu(name: str) -> str:
    """Returns the name of the GPU that a backend sees; nothing where it sees none, fails, or is too slow."""
    command = [sys.executable, "-c", PROBES[name]]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
