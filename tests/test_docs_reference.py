"""The API reference: a page for each public module, and an error where an annotation cannot be resolved."""

from pathlib import Path

import pytest

pytest.importorskip("pdoc", reason="pdoc, which writes the API reference, is not installed")

from docs.reference import write_reference


def _make_package(folder: Path, name: str, annotation: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text('"""A package."""\n\n__all__: list[str] = []\n')
    chime = f'"""A module."""\n\n\ndef ring() -> {annotation}:\n    """Rings."""\n'
    (folder / name / "chime.py").write_text(chime)


def test_a_module_has_a_page_though_all_does_not_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _make_package(tmp_path, "doorbell", "int")
    monkeypatch.syspath_prepend(tmp_path)
    write_reference(tmp_path / "pages", ["doorbell"])
    assert "Rings." in (tmp_path / "pages" / "doorbell" / "chime.html").read_text()
    assert "doorbell/chime.html" in (tmp_path / "pages" / "doorbell.html").read_text()


def test_an_annotation_that_cannot_be_resolved_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _make_package(tmp_path, "doorknob", '"Tone"')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserWarning, match="Error parsing type annotation Tone for doorknob"):
        write_reference(tmp_path / "pages", ["doorknob"])
