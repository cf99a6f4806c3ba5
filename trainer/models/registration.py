"""Registers our layers with Keras, so that it loads `.keras` and `.h5` files that hold them."""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_LAYERS = ("trainer.models.layers", "trainer.models.goodfellow")
"""Modules that define layers."""


def register_layers() -> None:
    """Registers the layers now, or as soon as Keras is imported: importing Keras here would take seconds."""
    if sys.modules.get("keras"):
        _import_layers()
    elif not any(isinstance(finder, _AfterKeras) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterKeras())


def _import_layers() -> None:
    for name in _LAYERS:
        importlib.import_module(name)


class _AfterKeras(MetaPathFinder):
    """Finds Keras as the other finders do, and makes its import end with that of the layers."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "keras":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                _import_layers()

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec
