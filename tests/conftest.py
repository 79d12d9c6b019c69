"""Fixtures for all tests."""

import gc
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# The same few examples in every run: a search for new ones is a matter of
# ``pytest --hypothesis-profile=thorough``.
hypothesis.settings.register_profile(
    "quick", max_examples=10, derandomize=True, deadline=None, database=None
)
hypothesis.settings.register_profile(
    "few", max_examples=5, derandomize=True, deadline=None, database=None
)
hypothesis.settings.register_profile("thorough", max_examples=2000, deadline=None)
hypothesis.settings.load_profile("quick")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep the collector from the thousands of tests, which live until the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A temporary directory whose path leaves room for a socket's name (107 bytes in all)."""
    path = Path(tempfile.mkdtemp(prefix="mp-"))
    yield path
    shutil.rmtree(path)
