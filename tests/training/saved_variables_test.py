import types

from keras_muse.training import saved_variables
from tests.helpers import tiny


def test_names_do_not_depend_on_what_was_made_before():
    names = []
    for _ in range(2):
        base = tiny.tiny_base()
        base.compile()
        base.optimizer.build(base.trainable_variables)
        parts = saved_variables.parts_of(base)
        names.append([list(part) for part in parts.values()])
        assert len(parts["weights"]) == len(base.weights) + 1  # the seed
        assert "muse_base/layer/self_attention/query/kernel#2" in names[-1][0]
        base.transformer_layers[0].trainable = False
        assert list(saved_variables.by_name(base.variables)) == names[-1][0]
    assert names[0] == names[1]


def named(*paths):
    return saved_variables.by_name(
        [types.SimpleNamespace(path=path) for path in paths]
    )


def test_numbers_of_a_process_are_left_out_and_equals_counted():
    found = named(
        *("base_3/dense/kernel", "base_3/dense_1/kernel", "base_3/dense/bias"),
        *("adam_12/base_3_dense_kernel_momentum", "layer_1x/kernel"),
    )
    assert [*found] == [
        *("base/dense/kernel", "base/dense/kernel#2", "base/dense/bias"),
        *("adam/base_dense_kernel_momentum", "layer_1x/kernel"),
    ]
    assert found["base/dense/kernel#2"].path == "base_3/dense_1/kernel"


def test_differences_are_told_in_words():
    first = {"a": (2, 3), "b": (4,), "c": ()}
    assert saved_variables.differences(first, dict(first)) == []
    second = {"a": (3, 2), "c": (), "d": (1,)}
    assert saved_variables.differences(first, second) == [
        *("a: (2, 3) and (3, 2)", "b: (4,) and absent", "d: absent and (1,)")
    ]


def test_paths_are_whole_unless_they_lie_in_a_store(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert str(saved_variables.full_path("run")) == str(tmp_path / "run")
    assert str(saved_variables.full_path("gs://a/b")) == "gs://a/b"
