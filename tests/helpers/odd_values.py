"""Odd values by kind: what people hand to an argument, and what it stands for.

A value stands for a plain one, as a scalar of another library does, or for
nothing: then it must be refused.
"""

import dataclasses
import fractions
import pathlib

import keras
import numpy as np
from hypothesis import strategies as st

NOTHING = object()  # what a value stands for that must be refused


@dataclasses.dataclass(frozen=True, eq=False)
class Odd:
    """A value, and the plain value that it stands for."""

    value: object
    means: object = NOTHING


class Thing:
    """Of no use anywhere."""


def _other_libraries(value):
    """A number as scalars of numpy and of the backend."""
    array = np.asarray(value)
    swapped = array.astype(array.dtype.newbyteorder(">"))
    return [array, swapped, array[()], keras.ops.convert_to_tensor(array)]


def integers(plain, low=1, high=2**31 - 1, none=False):
    """Of an argument that is an int of at least `low`."""
    wrong = [plain + 0.5, float(plain), str(plain), True, 1j, Thing()]
    wrong += [float("nan"), [plain], np.array([plain]), np.float32(plain)]
    wrong += [low - 1, high + 1, -(2**63), 10**30, b"1", np.array(True)]
    odd = st.sampled_from(wrong + ([] if none else [None]))
    odd |= st.integers(max_value=low - 1) | st.integers(min_value=high + 1)
    alike = [*_other_libraries(plain), np.uint32(plain), np.int64(plain)]
    return _of(odd, alike, plain)


def numbers(plain, low=None, high=None, none=False):
    """Of an argument that is a real number in a range."""
    wrong = [float("nan"), float("inf"), -float("inf"), 1j, str(plain), b"1"]
    wrong += [True, [plain], np.array([plain]), Thing(), 10**400, 1e39]
    wrong += [np.complex64(1), np.array("a"), np.array(None), bytearray(b"1")]
    odd = st.sampled_from(wrong + ([] if none else [None]))
    if low is not None:
        odd |= st.floats(max_value=low, exclude_max=True)
    if high is not None:
        odd |= st.floats(min_value=high, exclude_min=True)
    alike = [*_other_libraries(np.float64(plain)), np.float32(plain)]
    alike += [fractions.Fraction(plain)]
    return _of(odd, alike, plain)


def bools(plain):
    wrong = [0, 1, "yes", None, float("nan"), [plain], Thing(), 2]
    alike = [np.bool_(plain), np.array(plain)]
    return _of(st.sampled_from(wrong), alike, plain)


def names(plain, none=False):
    """Of an argument that is one of a few names."""
    wrong = ["no such name", 3, [plain], {plain: 1}, np.array([plain, "a"])]
    wrong += [plain.encode(), Thing(), float("nan"), ""]
    odd = st.sampled_from(wrong + ([] if none else [None])) | st.text(
        min_size=15
    )
    return _of(odd, [np.str_(plain)], plain)


def functions():
    """Of an argument that is a function or `None`."""
    return _of(st.sampled_from([3, "print", [print], float("nan"), b"a"]))


def texts(plain, none=False):
    """Of an argument that is a list of texts, or one."""
    wrong = [[], (), 3, b"a", [None], ["a", 3], [b"a"], {"a"}, Thing()]
    wrong += ["half \ud83d", ["\udc00"], np.array([1, 2]), np.array([], "U1")]
    wrong += [pathlib.Path("a"), [["a"]], float("nan"), np.array([["a"]])]
    odd = st.sampled_from(wrong + ([] if none else [None]))
    alike = [tuple(plain), np.array(plain), np.array(plain, object)]
    alike += [[np.str_(text) for text in plain]]
    return _of(odd, alike, plain)


def ids(plain, high, none=False):
    """Of an argument that is an array of ids in `[0, high)`."""
    wrong = [plain.astype("float32"), plain.astype(str), plain + high, "a", 3]
    wrong += [plain - high, plain[:, :1], plain[None], [[1], [1, 2]], Thing()]
    wrong += [plain.astype("complex64"), plain.astype(object), plain[:0]]
    wrong += [[None], {"a": plain}, float("nan")]
    odd = st.sampled_from(wrong + ([] if none else [None]))
    alike = [plain.astype(">i4"), plain.astype("uint8"), plain.tolist()]
    alike += [plain.astype("int64"), keras.ops.convert_to_tensor(plain)]
    return _of(odd, alike, plain)


def floats(plain):
    """Of an argument that is an array of finite numbers."""
    broken = np.array(plain)
    broken.flat[0] = np.nan
    wrong = [broken, broken * np.inf, plain.astype(str), plain.astype(object)]
    wrong += [plain * 1j, plain[0], plain[:0], None, "a", Thing(), 3.0]
    wrong += [[[1.0], [1.0, 2.0]], plain * np.float64(1e300)]
    alike = [plain.astype(">f4"), plain.tolist(), plain.astype("float64")]
    alike += [keras.ops.convert_to_tensor(plain)]
    return _of(st.sampled_from(wrong), alike, plain)


def pictures(plain):
    """Of an argument that is uint8 pictures."""
    wrong = [plain[..., :2], plain[0, 0], plain[:0], None, "a.png", Thing(), 3]
    wrong += [plain.astype(str), plain.astype(object), plain * 1j]
    wrong += [plain / 0.001, pathlib.Path("a.png"), [plain[0], plain[0, :1]]]
    alike = [plain.tolist()] if isinstance(plain, list) else []
    alike += [keras.ops.convert_to_tensor(plain), list(plain)]
    return _of(st.sampled_from(wrong), alike, plain)


def masks(plain):
    """Of an argument that is a mask of pictures."""
    wrong = [plain * 0.5, plain * 2, plain[..., 0], None, "a", Thing(), 3]
    wrong += [plain.astype(str), plain.astype(object), plain * 1j]
    alike = [plain * 1, plain * np.uint8(255), plain.tolist(), plain[..., None]]
    alike += [keras.ops.convert_to_tensor(plain), (plain * 1).astype(">i4")]
    return _of(st.sampled_from(wrong), alike, plain)


def int_tuples(plain, low=1):
    """Of an argument that is some integers of at least `low`."""
    wrong = [None, "ab", 3.5, Thing(), (), [plain], {"a": 1}]
    wrong += [tuple(x + 0.5 for x in plain), tuple(map(str, plain))]
    wrong += [(True,) * len(plain), (low - 1,) * len(plain)]
    wrong += [(None,) * len(plain), np.array(plain, "float32")]
    alike = [list(plain), np.array(plain), np.array(plain, ">i8")]
    alike += [keras.ops.convert_to_tensor(plain), tuple(map(np.int64, plain))]
    return _of(st.sampled_from(wrong), alike, plain)


def intervals(plain):
    """Of an argument that is two rising numbers in (0, 1), or `None`."""
    wrong = [(0.5, 0.5), (0.7, 0.3), (-1.0, 0.5), (0.5, 1.5), 0.5, "ab", (0.5,)]
    wrong += [(float("nan"), 0.5), (0.1, None), (0.1, 0.2, 0.3), Thing()]
    wrong += [(0.1, 1j), ("0.1", "0.5"), (False, True), {"a": 1}]
    alike = [list(plain), np.array(plain), np.array(plain, ">f8")]
    return _of(st.sampled_from(wrong), alike, plain)


def paths(plain):
    wrong = [None, 3, b"a", "", "a\0b", ["a"], Thing(), float("nan")]
    return _of(st.sampled_from(wrong), [pathlib.Path(plain)], plain)


def seeds(plain, high=2**32 - 1):
    """Of an argument that is a seed, or one per image."""
    wrong = [-1, high + 1, float(plain), str(plain), True, Thing(), 1j]
    wrong += [[plain], [plain] * 3, [None, None], np.array([0.5, 1.0]), {}]
    return _of(st.sampled_from(wrong), _other_libraries(plain), plain)


def _of(odd, alike=(), plain=None):
    strategy = odd.map(Odd)
    if len(alike):
        same = st.sampled_from(list(alike)).map(lambda x: Odd(x, plain))
        strategy = st.one_of(strategy, strategy, same)
    return strategy
