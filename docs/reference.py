"""Writes the API reference with pdoc: `python -m docs.reference DIRECTORY`. `make docs` calls it.

Every warning is an error: pdoc warns of modules that it cannot import and of annotations that it cannot resolve.
"""

import importlib
import pkgutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pdoc

from streetdigits import __version__
from trainer.distribute.startup import start_tensorflow

ROOTS = ("streetdigits", "beam_jobs", "tfrecords", "trainer")


def import_tree(module: ModuleType) -> None:
    """Imports every module below `module` and lists them where pdoc looks for them.

    Where a package has `__all__`, pdoc shows only the modules in it, and ours names only what `import *` brings.
    """
    children = [info.name for info in pkgutil.iter_modules(getattr(module, "__path__", [])) if info.name[0] != "_"]
    for name in children:
        import_tree(importlib.import_module(f"{module.__name__}.{name}"))
    if hasattr(module, "__all__"):
        listed = module.__all__
        vars(module)["__all__"] = [*listed, *(name for name in children if name not in listed)]


def write_reference(folder: Path, roots: Sequence[str] = ROOTS) -> None:
    """Writes a page for every public module of `roots`.

    Args:
      folder: Directory of the pages, made if there is none.
      roots: Names of the packages.

    Raises:
      Warning: pdoc cannot import a module or resolve an annotation.
    """
    for root in roots:
        import_tree(importlib.import_module(root))
    pdoc.render.configure(docformat="google", footer_text=f"streetdigits {__version__}")
    # Only now: the imports of other packages warn of each other.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pdoc.pdoc(*roots, output_directory=folder)
    print(f"wrote {sum(1 for _ in folder.rglob('*.html'))} pages: open {folder / 'index.html'} in a browser")


if __name__ == "__main__":
    start_tensorflow()
    write_reference(Path(sys.argv[1]))
