import numpy as np
import pytest

from tests.helpers import tiny


class FakeShards:
    """What `read_token_shards` tells about its tokens."""

    def __init__(
        self, codebook_size=16, grid_size=(4, 4), text_dim=6, stage="base"
    ):
        self.stage = stage
        tokens = {"codebook_size": codebook_size, "grid_size": list(grid_size)}
        self.metadata = {
            "low_res": tokens,
            "high_res": tokens,
            "text": {"text_dim": text_dim},
        }

    def __len__(self):
        return 1


def data(token_ids):
    rows = len(token_ids)
    return {
        "token_ids": token_ids,
        "text_embeddings": np.zeros((rows, 5, 6), "float32"),
        "text_mask": np.ones((rows, 5), "bool"),
    }


@pytest.fixture(scope="module")
def base():
    base = tiny.tiny_base()
    base.compile()
    return base


@pytest.mark.parametrize(
    ("shards", "received"),
    [
        (FakeShards(codebook_size=17), "codebook_size=17"),
        (FakeShards(grid_size=(8, 2)), r"grid_size=\(8, 2\)"),
        (FakeShards(text_dim=7), "text_dim=7"),
    ],
)
@pytest.mark.parametrize("verb", ["fit", "evaluate"])
def test_shards_of_another_kind_are_refused(base, shards, received, verb):
    with pytest.raises(ValueError, match=f"`x` must have.*{received}"):
        getattr(base, verb)(shards)


@pytest.mark.parametrize(
    "make, stage",
    [(tiny.tiny_base, "super_res"), (tiny.tiny_super_res, "base")],
)
def test_shards_of_the_other_stage_are_refused(make, stage):
    model = make()
    model.compile()
    with pytest.raises(ValueError, match=f"`x` must be.*stage='{stage}'"):
        model.fit(FakeShards(stage=stage))


def test_ids_out_of_the_codebook_are_refused(base):
    # JAX would clip them and train on.
    with pytest.raises(ValueError, match="`token_ids`.*from 0 to 16"):
        base.fit(data(np.arange(32).reshape(2, 16) % 17))


def test_no_rows_are_refused(base):
    with pytest.raises(ValueError, match="`x` must not be empty"):
        base.fit(data(np.zeros((0, 16), "int32")))


def test_low_resolution_ids_are_checked_too():
    super_res = tiny.tiny_super_res()
    super_res.compile()
    rows = data(np.zeros((2, 32), "int32"))
    rows["low_res_token_ids"] = np.full((2, 8), 16)
    with pytest.raises(ValueError, match="`low_res_token_ids`.*from 16 to 16"):
        super_res.evaluate(rows)
