"""What a program compiled for TPU moves, read from its text.

XLA's own "bytes accessed" counts each operand of each operation wherever it
lies; a TPU program keeps most of them on the chip. The text tells: an array
in another memory than the large one (HBM) has a space in its layout, `S(1)`.
"""

import math
import re

ARRAY = re.compile(
    r"\b(?P<dtype>pred|bf16|[subf]\d+)\[(?P<shape>[\d,]*)\]"
    r"(?:\{[^}]*?(?P<space>S\(\d+\))?\})?"
)
BYTES = {
    **dict.fromkeys(("pred", "s8", "u8"), 1),
    **dict.fromkeys(("bf16", "f16", "s16", "u16"), 2),
    **dict.fromkeys(("f32", "s32", "u32"), 4),
}
COMPUTATION = re.compile(r"(ENTRY )?%[\w.-]+ \(.*\{$")
OPERATION = re.compile(
    r"\s+(?:ROOT )?(?P<name>%[\w.-]+) = (?P<type>.+?) (?P<kind>[a-z][\w-]*)"
    r"\((?P<operands>[^)]*)\)(?P<rest>.*)"
)
COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
)
# These move nothing; what ends in "-done" was counted where it started.
NAMES_ONLY = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast")


def collective_bytes(hlo):
    """Bytes that a device takes in through its links in one run, by kind.

    Of an all-gather or an exchange that is its result, of a reduce-scatter
    its operand, and of an all-reduce, which is both, twice its result. One
    collective may stand in the text many times, in each of the operations
    that run while it does: they have its channel in common. Loops are not
    looked into; these models have none.

    Args:
        hlo: string. The program, as `compiled.as_text()` gives it.

    Returns:
        dict from the kind of collective to bytes.
    """
    found, scattered = set(), False
    for line in hlo.splitlines():
        # A reduce-scatter of the TPU compiler: an all-reduce, then a slice.
        if COMPUTATION.match(line):
            scattered = line.startswith("%all-reduce-scatter")
        match = OPERATION.match(line)
        kind = match and match["kind"].removesuffix("-start")
        if kind not in COLLECTIVES:
            continue
        sizes = [size for size, _ in arrays(match["type"])]
        # What starts has its operand, its result and its flags as results.
        size = sizes[1] if match["kind"].endswith("-start") else sum(sizes)
        if kind == "all-reduce" and scattered:
            kind = "reduce-scatter"
        elif kind == "all-reduce":
            size *= 2
        elif kind == "reduce-scatter":
            size *= group_size(match["rest"])
        channel = re.search(r"channel_id=(\d+)", match["rest"])
        found.add((channel and channel[1], kind, size))
    totals = dict.fromkeys((kind for _, kind, _ in found), 0)
    for _, kind, size in found:
        totals[kind] += size
    return totals


def hbm_bytes(hlo):
    """Bytes that a device reads from and writes to its HBM in one run.

    Each operation reads its operands and writes its results once, as far as
    they lie there. An operand of which only a part is read, as the table of
    an embedding, counts whole.

    Args:
        hlo: string. The program, scheduled, as `compiled.as_text()` gives it.

    Returns:
        int.
    """
    total, in_hbm = 0, {}
    for line in hlo[hlo.index("\nENTRY ") :].splitlines():
        match = OPERATION.match(line)
        if not match:
            continue
        results = arrays(match["type"])
        in_hbm[match["name"]] = sum(size for size, hbm in results if hbm)
        if match["kind"] in NAMES_ONLY or match["kind"].endswith("-done"):
            continue
        if match["kind"].endswith("-start"):  # a copy between two places
            (one, one_hbm), (other, other_hbm) = results[:2]
            total += min(one, other) * (one_hbm + other_hbm)
            continue
        operands = re.findall(r"%[\w.-]+", match["operands"])
        aliases = re.findall(
            r"\{(\d*)\}: \((\d+),",
            match["rest"].partition("output_to_operand_aliasing=")[2],
        )
        untouched_results = {int(result or 0) for result, _ in aliases}
        untouched_operands = {int(operand) for _, operand in aliases}
        total += sum(
            size
            for index, (size, hbm) in enumerate(results)
            if hbm and index not in untouched_results
        )
        total += sum(
            in_hbm.get(operand, 0)
            for index, operand in enumerate(operands)
            if index not in untouched_operands
        )
    return total


def arrays(type_text):
    """`(bytes, whether in HBM)` of each array of a type, maybe a tuple."""
    return [
        (
            BYTES[match["dtype"]]
            * math.prod(int(n) for n in match["shape"].split(",") if n),
            match["space"] is None,
        )
        for match in ARRAY.finditer(type_text)
    ]


def group_size(attributes):
    """Devices in a group, in each of the three ways in which it is written.

    `{{0,1},{2,3}}`, `[2,2]<=[4]`, and `mesh['a'=2,'b'=2] {'b'}`.
    """
    groups = attributes.partition("replica_groups=")[2]
    if groups.startswith("["):
        return int(re.match(r"\[\d+,(\d+)\]", groups)[1])
    if groups.startswith("{"):
        return len(re.match(r"\{\{([\d,]+)\}", groups)[1].split(","))
    axes = re.match(r"mesh\[(.*?)\] \{(.*?)\}", groups)
    sizes = dict(re.findall(r"('\w+')=(\d+)", axes[1]))
    return math.prod(int(sizes[name]) for name in axes[2].split(","))
