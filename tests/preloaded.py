"""Imported last by the server of `tests.forked`: its processes collect no garbage among what it has imported."""

from tests import collector

collector.pass_over_imports()
