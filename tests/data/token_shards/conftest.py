import pytest

from tests.helpers.token_shards import make_rows
from tests.helpers.token_shards import write


@pytest.fixture
def shards(tmp_path):
    directory = str(tmp_path / "tokens")
    write(make_rows(), directory)
    return directory
