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
