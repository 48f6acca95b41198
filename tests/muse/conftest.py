"""Tiny models that the tests of this room draw with."""

import pytest

from tests.helpers.tiny_muse import shared_muse


@pytest.fixture(scope="module")
def cascade():
    return shared_muse()


@pytest.fixture(scope="module")
def small():
    return shared_muse(cascade=False)
