import numpy as np
import pytest


def test_the_first_view_is_the_picture_and_the_others_are_its_parts(tmp_path):
    from keras_muse.data.token_shards.views import picture_views
    from keras_muse.data.token_shards.views import resize_view

    column = np.arange(64, dtype="uint8")
    image = np.broadcast_to(column[None, :, None], (64, 64, 3))
    arguments = dict(num_views=20, crop_scale=(0.25, 0.25))
    plain, mirrored = (
        picture_views(image, (1, 1), (0, 0), random_flip=flip, **arguments)
        for flip in (False, True)
    )
    np.testing.assert_array_equal(resize_view(plain[0], (64, 64)), image)
    rising = []
    for i in range(1, 20):
        _, (left, top, right, bottom) = plain[i]
        assert right - left == pytest.approx(32)
        assert bottom - top == pytest.approx(32)
        row = resize_view(plain[i], (32, 32))[0, :, 0].astype(int)
        np.testing.assert_allclose(row, left + np.arange(32), atol=1.1)
        row = resize_view(mirrored[i], (32, 32))[0, :, 0].astype(int)
        rising.append(row[-1] > row[0])
    assert 0 < sum(rising) < 19
