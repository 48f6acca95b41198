import dataclasses

from keras_muse.evaluation.rows import rows_to_draw
from tests.helpers.colors import ALL
from tests.helpers.colors import DRAWN


def test_the_rows_of_a_protocol(pairs):
    assert rows_to_draw(pairs, DRAWN).texts == pairs.texts[::4]
    chosen = rows_to_draw(pairs, ALL).texts
    assert len(set(chosen)) == 10 and chosen != pairs.texts[::4]
    assert chosen == rows_to_draw(pairs, ALL).texts
    assert chosen == sorted(chosen, key=pairs.texts.index)
    all_of_them = dataclasses.replace(DRAWN, num_prompts=None)
    assert rows_to_draw(pairs, all_of_them).texts == pairs.texts
