"""Chooses the Keras backend that sees a GPU. Each backend is probed in its own process.

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
"""Programs that print the name of a GPU, or nothing, in order of preference: JAX compiles a complete step."""
PRECISIONS = {"mixed_bfloat16": "bfloat16", "tf32": "float32", "float32": "float32"}
"""Type that stores the operands of products, for each precision."""
_PROBE_S = 120


@dataclass(frozen=True)
class Choice:
    """A backend to train on.

    Attributes:
      backend: Name of the backend in Keras.
      device: Name of the GPU, or "CPU".
      why: Sentence that explains the choice.
    """

    backend: str
    device: str
    why: str

    @property
    def has_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device != "CPU"


def choose(wish: str) -> Choice:
    """Returns the backend of that name; for "auto" the first that sees a GPU, or else the first.

    Imports no framework into this process: two frameworks would share a GPU's memory, and Keras fixes its backend when
    it is first imported.

    Raises:
      UserError: The backend is not installed, or none is.
    """
    installed = [name for name in PROBES if importlib.util.find_spec(name) is not None]
    if wish != "auto":
        if wish not in installed:
            rule = f"--backend must be a package that is installed here: {', '.join(installed) or 'none of them is'}."
            raise UserError(rule, wish)
        device = find_gpu(wish) or "CPU"
        return Choice(wish, device, f"{wish}, as asked for, on {device}.")
    if not installed:
        raise UserError(f"One of {', '.join(PROBES)} must be installed.")
    for name in installed:
        if device := find_gpu(name):
            return Choice(name, device, f"{name}, which sees a GPU: {device}.")
    return Choice(installed[0], "CPU", f"{installed[0]} on the CPU: none of {', '.join(installed)} sees a GPU.")


def find_gpu(name: str) -> str:
    """Returns the name of the GPU that a backend sees; empty if it sees none, fails or is too slow."""
    command = [sys.executable, "-c", PROBES[name]]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_S)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
