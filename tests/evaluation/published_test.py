"""What others have published: one place, and a page of it."""

import pathlib
import re

from keras_muse.evaluation import PROTOCOLS
from keras_muse.evaluation import published

PAGE = pathlib.Path(__file__).parents[2] / "benchmarks/results/published.md"


def test_the_page_is_written_from_the_table():
    """`python -m keras_muse.evaluation.published > (the page)`."""
    assert PAGE.read_text() == published.page()


def test_every_number_has_its_source():
    assert set(published.TABLES) < set(PROTOCOLS)
    for table in published.TABLES.values():
        for row in table.rows:
            assert re.fullmatch(r"\d+\.\d+", row.fid)
            assert re.fullmatch(r"\d{4}\.\d{5}|https://.+", row.paper)
            assert row.stated_by and row.kind


def test_the_papers_own_rows():
    """Muse, tables 1 and 2."""
    found = {
        row.model: (row.fid, row.clip_score)
        for table in published.TABLES.values()
        for row in table.rows
        if row.model.startswith("Muse")
    }
    assert found == {
        "Muse, base": ("6.8", "0.25"),
        "Muse, base and super-resolution": ("6.06", "0.26"),
        "Muse-3B": ("7.88", "0.32"),
    }
