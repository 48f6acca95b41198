"""Pictures and drawings that are scored."""

import pytest

from keras_muse import data


@pytest.fixture(scope="session")
def pairs():
    pairs = data.load_emoji(
        image_size=16, split="test_pair", prompts="styled", shuffle=False
    )
    return pairs.select(range(40))


@pytest.fixture(scope="session")
def drawn(pairs):
    """Pictures for ten rows."""
    return 255 - pairs.select(range(10)).as_arrays()[0]
