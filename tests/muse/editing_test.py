import inspect
import re

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

import keras_muse
from keras_muse import Muse
from keras_muse.ops import images as image_ops
from keras_muse.ops import pixel_masks
from keras_muse.samplers import ResamplingSampler
from tests.helpers.tiny import tiny_images
from tests.helpers.tiny_muse import shared_muse
from tests.helpers.tiny_muse import tiny_muse

PROMPTS = ["a red apple", "a cat"]
# One compiled shape serves nearly all tests.
OPTIONS = {"super_res_num_steps": 2, "batch_size": 2, "verbose": 0, "seed": 5}
MASK = 16


@pytest.fixture(scope="module", params=["base", "super_res"])
def muse(request):
    """Without and with a super-resolution model: 16 and 32 pixels."""
    return shared_muse(cascade=request.param == "super_res")


def size_of(muse):
    return 16 if muse.super_res is None else 32


def pictures(muse, count=2):
    """Noisy, so that no two cells of one are alike."""
    images = tiny_images(count, size_of(muse))
    noise = np.random.default_rng(0).integers(-60, 60, images.shape)
    return np.clip(images + noise, 0, 255).astype("uint8")


def half_masks(muse):
    """The lower half of one picture, a right part of the other."""
    size = size_of(muse)
    masks = np.zeros((2, size, size), "bool")
    masks[0, size // 2 :] = True
    masks[1, :, -6:] = True
    return masks


def inpaint(muse, images, masks, prompts=PROMPTS, *args, **kwargs):
    options = {"num_steps": 3, **OPTIONS, **kwargs}
    return muse.inpaint(images, masks, prompts, *args, **options)


def outpaint(muse, images, padding, prompts=PROMPTS, *args, **kwargs):
    options = {"num_steps": 3, **OPTIONS, **kwargs}
    return muse.outpaint(images, prompts, *args, padding=padding, **options)


def edit(muse, images, prompts=PROMPTS, *args, **kwargs):
    options = {"num_rounds": 4, **OPTIONS, **kwargs}
    return muse.edit(images, prompts, *args, **options)


def reduced(images):
    """At the size of the base, as token shards reduce pictures."""
    small = [Image.fromarray(x).resize((16, 16), 1) for x in images]
    return np.stack(small)


# === Inpainting ===


def test_pixels_outside_the_mask_are_the_input(muse):
    images, masks = pictures(muse), half_masks(muse)
    given = images.copy(), masks.copy()
    result = inpaint(muse, images, masks)
    assert result.dtype == "uint8" and result.shape == images.shape
    np.testing.assert_array_equal(result[~masks], images[~masks])
    for i in range(2):
        changed = (result[i] != images[i]).any(axis=-1)[masks[i]]
        assert changed.mean() > 0.9
    np.testing.assert_array_equal(images, given[0])
    np.testing.assert_array_equal(masks, given[1])


def test_blending_takes_the_seam_away_and_changes_nothing_else(small):
    images, masks = pictures(small), half_masks(small)
    plain = inpaint(small, images, masks)
    blended = inpaint(small, images, masks, blend_width=3)
    np.testing.assert_array_equal(blended[~masks], images[~masks])
    far = np.stack(
        [ndimage.binary_erosion(x, iterations=3, border_value=1) for x in masks]
    )
    np.testing.assert_array_equal(blended[far], plain[far])
    near = masks & ~far
    assert (blended[near] != plain[near]).mean() > 0.8

    def jumps(result):
        """Over the border of the first mask, which is a straight line."""
        rows = result[0, 7:9].astype(float)
        return np.abs(rows[1] - rows[0]).mean()

    assert jumps(blended) < 0.8 * jumps(plain)
    np.testing.assert_array_equal(
        inpaint(small, images, masks, blend_width=0), plain
    )


def test_inpainting_is_decoding_with_known_tokens(cascade):
    """The same by hand: known tokens at both stages, each with its mask."""
    images, masks = pictures(cascade), half_masks(cascade)
    filled = pixel_masks.fill_masked(images, masks, 128)
    tokenizer, text = cascade.image_tokenizer, "a red apple"
    embeddings = cascade.text_encoder.encode([text, text], 2)
    options = {"batch_size": 2, "verbose": 0, "seed": 5}

    known = tokenizer.encode(reduced(filled))
    known[masks.reshape(2, 4, 8, 4, 8).any(axis=(2, 4))] = MASK
    assert 0 < (known == MASK).sum() < known.size
    low = cascade.base.generate(
        *embeddings, token_ids=known, num_steps=3, **options
    )
    np.testing.assert_array_equal(low[known != MASK], known[known != MASK])
    known = tokenizer.encode(filled)
    known[masks.reshape(2, 8, 4, 8, 4).any(axis=(2, 4))] = MASK
    high = cascade.super_res.generate(
        *embeddings, low, token_ids=known, num_steps=2, **options
    )
    drawn = image_ops.to_pixels(tokenizer.decode(high))
    np.testing.assert_array_equal(
        inpaint(cascade, images, masks, text),
        np.where(masks[..., None], drawn, images),
    )


def test_what_is_masked_has_no_influence(muse):
    images, masks = pictures(muse), half_masks(muse)
    other = images.copy()
    other[masks] = np.random.default_rng(1).integers(0, 256, 3)
    result = inpaint(muse, images, masks)
    np.testing.assert_array_equal(inpaint(muse, other, masks), result)
    # What is not masked has.
    other = np.where(masks[..., None], images, 255 - images)
    assert (inpaint(muse, other, masks)[masks] != result[masks]).any()


def test_a_line_of_one_pixel_is_drawn_anew_at_both_stages(cascade):
    images = pictures(cascade)
    masks = np.zeros((32, 32), "bool")
    masks[:, 13] = True
    undecided = {}

    def callback(stage, step, start, token_ids):
        undecided.setdefault(stage, token_ids == MASK)

    result = inpaint(cascade, images, masks, callback=callback)
    # Cells of 8 and of 4 pixels; the first step leaves others undecided.
    for stage, column in (("base", 1), ("super_res", 3)):
        assert undecided[stage].any(axis=(0, 1)).nonzero()[0] == [column]
    assert (result[:, :, 13] != images[:, :, 13]).any(axis=-1).mean() > 0.9


def test_an_empty_mask_changes_nothing_and_a_full_one_all(muse):
    images = pictures(muse)
    masks = np.zeros(images.shape[:3], "bool")
    np.testing.assert_array_equal(inpaint(muse, images, masks), images)
    masks[1] = True
    options = {"num_steps": 3, **OPTIONS, "guidance_scale": 2.5}
    drawn = muse.generate(PROMPTS, "blue", **options)
    result = inpaint(muse, images, masks, PROMPTS, "blue", guidance_scale=2.5)
    np.testing.assert_array_equal(result[0], images[0])
    np.testing.assert_array_equal(result[1], drawn[1])


def test_with_two_tokenizers_a_full_mask_is_generate():
    muse = tiny_muse(two_tokenizers=True)
    images, masks = pictures(muse), np.ones((32, 32), "bool")
    np.testing.assert_array_equal(
        inpaint(muse, images, masks),
        muse.generate(PROMPTS, num_steps=3, **OPTIONS),
    )
    result = inpaint(muse, images, half_masks(muse))
    assert (result != images).any()


def test_forms_of_masks(small):
    images, masks = pictures(small), half_masks(small)
    expected = inpaint(small, images, masks)
    for same in (
        masks.astype("int32"),
        masks.astype("uint8") * 255,
        masks[..., None],
        masks.tolist(),
    ):
        np.testing.assert_array_equal(inpaint(small, images, same), expected)
    for_all = inpaint(small, images, masks[0])
    np.testing.assert_array_equal(for_all[0], expected[0])
    np.testing.assert_array_equal(
        for_all, inpaint(small, images, masks[[0, 0]])
    )


def test_each_knob_of_inpainting_changes_the_result(cascade):
    images, masks = pictures(cascade), half_masks(cascade)
    expected = inpaint(cascade, images, masks)
    greedy = keras_muse.ConfidenceSampler(top_k=1)
    for changes in (
        {"num_steps": 1},
        {"super_res_num_steps": 1},
        {"guidance_scale": 9.0},
        {"super_res_guidance_scale": 9.0},
        {"seed": 6},
        {"sampler": greedy},
        {"super_res_sampler": greedy},
        {"prompts": PROMPTS[::-1]},
        {"negative_prompts": "green"},
    ):
        result = inpaint(cascade, images, masks, **changes)
        assert (result != expected).any(), changes


# === Pictures, prompts and seeds ===


def drawn_by(name, muse, images, prompts, **kwargs):
    """One of the three ways to edit, with the same arguments."""
    if name == "inpaint":
        mask = half_masks(muse)[0]
        return inpaint(muse, images, mask, prompts, **kwargs)
    if name == "outpaint":
        return outpaint(muse, images, (0, 0, 0, 14), prompts, **kwargs)
    return edit(muse, images, prompts, **kwargs)


WAYS = ["inpaint", "outpaint", "edit"]


@pytest.mark.parametrize("way", WAYS)
def test_pictures_and_prompts(way, small):
    images = pictures(small)
    expected = drawn_by(way, small, images, ["a cat", "a cat"])
    for_all = drawn_by(way, small, images, "a cat")
    np.testing.assert_array_equal(for_all, expected)
    one = drawn_by(way, small, images[0], "a cat")
    assert one.ndim == 4 and len(one) == 1
    np.testing.assert_array_equal(one[0], expected[0])
    several = drawn_by(way, small, images[:1], PROMPTS)
    np.testing.assert_array_equal(
        several, drawn_by(way, small, images[[0, 0]], PROMPTS)
    )


@pytest.mark.parametrize("way", WAYS)
def test_prompts_as_in_generate(way, small):
    images = pictures(small)
    plain = drawn_by(way, small, images, PROMPTS)
    embeddings, mask = small.text_encoder.encode(PROMPTS, 2)
    text = {"text_embeddings": embeddings, "text_mask": mask}
    np.testing.assert_array_equal(drawn_by(way, small, images, text), plain)
    both = {"prompts": PROMPTS, "negative_prompts": "green"}
    guided = drawn_by(way, small, images, both)
    np.testing.assert_array_equal(
        guided, drawn_by(way, small, images, PROMPTS, negative_prompts="green")
    )
    assert (guided != plain).any()


@pytest.mark.parametrize("way", WAYS)
def test_a_picture_alone_is_the_picture_in_a_batch(way, cascade):
    images = pictures(cascade, 3)
    prompts = [*PROMPTS, "green"]
    together = drawn_by(way, cascade, images, prompts)
    for i in range(3):
        alone = drawn_by(way, cascade, images[i], prompts[i], seed=5 + i)
        np.testing.assert_array_equal(alone[0], together[i])
    np.testing.assert_array_equal(
        drawn_by(way, cascade, images, prompts, seed=[5, 6, 7]), together
    )


@pytest.mark.parametrize("way", WAYS)
def test_tokenizers_see_batches_of_one_shape(way, small, monkeypatch):
    """On which "bit for bit" rests: rounding differs from shape to shape."""
    tokenizer, num_rows = small.image_tokenizer, []
    drawn_by(way, small, pictures(small), PROMPTS)  # compiles

    get = tokenizer._compiled.get

    def spy(key, function):
        compiled = get(key, function)

        def call(rows):
            num_rows.append(len(rows))
            return compiled(rows)

        return call

    monkeypatch.setattr(tokenizer._compiled, "get", spy)
    for count in (1, 3):
        drawn_by(way, small, pictures(small, count), "a cat")
    assert len(num_rows) >= 6 and set(num_rows) == {2}


@pytest.mark.parametrize("way", WAYS)
def test_a_drawn_seed_is_printed_once_and_draws_the_same(way, small, capsys):
    images = pictures(small)
    result = drawn_by(way, small, images, PROMPTS, seed=None)
    words = capsys.readouterr().out.split()
    seeds = [int(word[5:]) for word in words if word.startswith("seed=")]
    assert len(seeds) == 1
    np.testing.assert_array_equal(
        drawn_by(way, small, images, PROMPTS, seed=seeds[0]), result
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "changes, message",
    [
        ({"images": np.zeros((2, 16, 16, 3))}, "`images`.*float64"),
        ({"images": np.zeros((2, 16, 16, 4), "uint8")}, "`images`.*16, 4"),
        ({"images": np.zeros((16, 16), "uint8")}, r"`images`.*\(16, 16\)"),
        ({"images": np.zeros((0, 16, 16, 3), "uint8")}, "`images`.*empty"),
        ({"images": [np.zeros((4, 4, 3)), np.zeros((4, 5, 3))]}, "`images`"),
        ({"prompts": ["a"] * 3}, "`prompts`.*3 prompts for 2 images"),
        ({"prompts": ["a"]}, "`prompts`.*1 prompts for 2 images"),
        ({"prompts": []}, r"`prompts`.*Received: prompts=\[\]"),
        ({"negative_prompts": ["a"] * 3}, "`negative_prompts`.*Received: 3"),
        ({"super_res_num_steps": 0}, "`super_res_num_steps`.*=0"),
        ({"seed": [1, 2, 3]}, "list of 2 ints"),
    ],
)
def test_what_does_not_fit_raises_before_work(way, changes, message, small):
    arguments = {"images": pictures(small), "prompts": PROMPTS, **changes}
    with pytest.raises(ValueError, match=message):
        drawn_by(way, idle(small), **arguments)


def idle(muse):
    """A `Muse` whose models cannot compute anything."""
    lazy = Muse.__new__(Muse)
    lazy.__dict__.update(muse.__dict__)
    lazy.text_encoder = None
    return lazy


@pytest.mark.parametrize("way", ["inpaint", "edit"])
@pytest.mark.parametrize("size", [(16, 20), (32, 32), (8, 8)])
def test_pictures_of_another_size_raise(way, size, small):
    images = np.zeros((2, *size, 3), "uint8")
    with pytest.raises(ValueError, match=r"`images`.*16, 16, 3.*Received"):
        drawn_by(way, idle(small), images, PROMPTS)


@pytest.mark.parametrize("way", ["inpaint", "outpaint"])
def test_no_steps_raise(way, small):
    with pytest.raises(ValueError, match="`num_steps`.*num_steps=0"):
        drawn_by(way, idle(small), pictures(small), PROMPTS, num_steps=0)


@pytest.mark.parametrize(
    "masks, message",
    [
        (np.zeros((3, 16, 16), "bool"), r"shape.*\(3, 16, 16\)"),
        (np.zeros((1, 16, 16), "bool"), r"shape.*\(1, 16, 16\)"),
        (np.zeros((2, 16, 8), "bool"), r"shape.*\(2, 16, 8\)"),
        (np.zeros((16, 16, 1), "bool"), r"shape.*\(16, 16, 1\)"),
        (np.zeros((2, 16, 16, 3), "bool"), r"shape.*\(2, 16, 16, 3\)"),
        (np.full((16, 16), 2), "0 and 255.*int64.*2"),
        (np.full((16, 16), -1), "0 and 255.*-1"),
        (np.zeros((16, 16), "float32"), "0 and 255.*float32"),
    ],
)
def test_unusable_masks_raise(masks, message, small):
    with pytest.raises(ValueError, match=f"`masks`.*{message}"):
        inpaint(idle(small), pictures(small), masks)


# === Outpainting ===


def test_the_picture_stays_where_it_is(muse):
    images = pictures(muse)
    size = size_of(muse)
    result = outpaint(muse, images, (3, 0, 7, size + 5))
    assert result.shape == (2, size + 3, 2 * size + 12, 3)
    np.testing.assert_array_equal(result[:, 3:, 7 : 7 + size], images)
    for part in (result[:, :3], result[:, :, :7], result[:, :, 7 + size :]):
        assert part.std() > 5  # something is drawn


def test_one_window_is_inpainting(muse):
    images, size = pictures(muse), size_of(muse)
    half = size // 2
    canvas = np.pad(images[:, :, half:], ((0, 0), (0, 0), (0, half), (0, 0)))
    masks = np.zeros((size, size), "bool")
    masks[:, half:] = True
    result = outpaint(muse, images, (0, 0, 0, half))
    np.testing.assert_array_equal(
        result[:, :, half:], inpaint(muse, canvas, masks)
    )


def test_outpainting_blends_where_the_picture_ends(small):
    images = pictures(small)
    plain = outpaint(small, images, (0, 0, 0, 8))
    blended = outpaint(small, images, (0, 0, 0, 8), blend_width=3)
    np.testing.assert_array_equal(blended[:, :, :16], images)
    # All but what is black or white by now.
    assert (blended[:, :, 16:19] != plain[:, :, 16:19]).mean() > 0.7
    np.testing.assert_array_equal(blended[:, :, 19:], plain[:, :, 19:])


def test_small_and_large_pictures(small):
    little = pictures(small)[:, :5, :9]
    result = outpaint(small, little, (6, 5, 0, 9))
    assert result.shape == (2, 16, 18, 3)
    np.testing.assert_array_equal(result[:, 6:11, :9], little)
    large = np.concatenate([pictures(small)] * 3, axis=2)
    result = outpaint(small, large, (0, 4, 0, 0))
    assert result.shape == (2, 20, 48, 3)
    np.testing.assert_array_equal(result[:, :16], large)
    assert result[:, 16:].std() > 5
    unpadded = outpaint(small, large, [0, 0, 0, 0])
    np.testing.assert_array_equal(unpadded, large)


def test_every_window_has_noise_and_knowledge_of_its_own(small, monkeypatch):
    calls = []
    generate = small.base.generate

    def spy(*args, seed, token_ids, **kwargs):
        calls.append((np.array(seed), token_ids))
        return generate(*args, seed=seed, token_ids=token_ids, **kwargs)

    monkeypatch.setattr(small.base, "generate", spy)
    large = 2**31 - 2  # near the end of int32, where seeds wrap around
    outpaint(small, pictures(small), (0, 0, 0, 32), seed=[7, large])
    assert len(calls) == 4
    seeds = np.stack([seeds for seeds, _ in calls])  # (windows, pictures)
    assert seeds[0].tolist() == [7, large]
    assert len(np.unique(seeds)) == seeds.size
    steps = np.diff(seeds.astype("int64"), axis=0) % 2**32
    assert len(np.unique(steps)) == 1
    for _, token_ids in calls:
        unknown = token_ids == MASK
        assert not unknown[:, :, :2].any() and unknown[:, :, 2:].all()


@pytest.mark.parametrize(
    "padding", [(0, 0, 0), (0, 0, 0, -1), (0, 0, 0, 1.5), 4, "0000", None]
)
def test_unusable_padding_raises(padding, small):
    with pytest.raises(ValueError, match="`padding` must be four.*Received"):
        outpaint(idle(small), pictures(small), padding)


def test_a_canvas_smaller_than_a_window_raises(small):
    images = pictures(small)[:, :8, :8]
    with pytest.raises(ValueError) as caught:
        outpaint(idle(small), images, (8, 0, 4, 3))
    for part in ("`padding`", "(16, 16)", "(8, 8)", "(16, 15)", "(8, 0, 4, 3)"):
        assert part in str(caught.value)


# === Editing without a mask ===


def test_editing_resamples_the_base_and_draws_large_tokens_once(muse):
    """The same by hand."""
    images = pictures(muse)
    text = muse.text_encoder.encode(PROMPTS, 2)
    options = {"batch_size": 2, "verbose": 0, "seed": 5}
    token_ids = muse.base.generate(
        *text,
        token_ids=muse.image_tokenizer.encode(reduced(images)),
        num_steps=4,
        guidance_scale=5.0,
        sampler=ResamplingSampler(0.08, top_k=3),
        **options,
    )
    if muse.super_res is not None:
        token_ids = muse.super_res.generate(
            *text, token_ids, num_steps=2, guidance_scale=5.0, **options
        )
    expected = image_ops.to_pixels(muse.image_tokenizer.decode(token_ids))
    np.testing.assert_array_equal(edit(muse, images), expected)


def test_callback_sees_each_round_and_ends_the_rounds(cascade):
    images, calls, grids = pictures(cascade), [], []

    def callback(stage, step, start, token_ids):
        calls.append((stage, step, start))
        if stage == "base":
            grids.append(token_ids.copy())
        return stage == "base" and step == 2

    stopped = edit(cascade, images, num_rounds=9, callback=callback)
    assert calls == [
        *(("base", step, 0) for step in range(3)),
        *(("super_res", step, 0) for step in range(2)),
    ]
    grids.insert(0, cascade.image_tokenizer.encode(reduced(images)))
    for before, after in zip(grids, grids[1:], strict=False):
        assert after.max() < MASK
        # 8 % of 16 tokens are one.
        assert ((before != after).sum(axis=(1, 2)) <= 1).all()
    assert (grids[0] != grids[-1]).any()
    np.testing.assert_array_equal(stopped, edit(cascade, images, num_rounds=3))


def test_each_knob_of_editing_changes_the_result(cascade):
    images = pictures(cascade)
    expected = edit(cascade, images, num_rounds=20)
    for changes in (
        {"num_rounds": 1},
        {"mask_ratio": 0.6},
        {"top_k": 1},
        {"guidance_scale": 9.0, "super_res_guidance_scale": 5.0},
        {"super_res_num_steps": 1},
        {"super_res_guidance_scale": 1.0},
        {"super_res_sampler": keras_muse.ConfidenceSampler(top_k=1)},
        {"seed": 6},
        {"negative_prompts": "green"},
    ):
        changes = {"num_rounds": 20, **changes}
        assert (edit(cascade, images, **changes) != expected).any(), changes


@pytest.mark.parametrize("width", [-1, 1.5, True, None, "3"])
def test_an_unusable_blend_width_raises(width, small):
    words = "`blend_width` must be.*Received: blend_width="
    with pytest.raises(ValueError, match=words):
        inpaint(idle(small), pictures(small), None, blend_width=width)
    with pytest.raises(ValueError, match=words):
        outpaint(idle(small), pictures(small), None, blend_width=width)


def test_unusable_options_of_editing_raise(small):
    for changes in ({"num_rounds": 0}, {"mask_ratio": 0}, {"top_k": 0}):
        (name,) = changes
        with pytest.raises(ValueError, match=f"`{name}`.*Received: {name}=0"):
            edit(idle(small), pictures(small), **changes)


# === What the documentation shows ===


def test_examples_run(tmp_path, monkeypatch):
    """One after the other; the class's makes `muse` and `images`."""
    monkeypatch.chdir(tmp_path)
    names = {}
    for documented in (
        Muse,
        Muse.generate,
        Muse.preview,
        Muse.inpaint,
        Muse.outpaint,
        Muse.edit,
    ):
        blocks = re.findall(
            r"```python\n(.*?)```", inspect.getdoc(documented), re.DOTALL
        )
        assert blocks
        for block in blocks:
            exec(compile(block, documented.__name__, "exec"), names)
    assert len(list(tmp_path.glob("base_*.png"))) == 4
    assert len(names["frames"]) == 4
