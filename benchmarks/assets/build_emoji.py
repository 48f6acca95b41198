"""Builds the emoji data: the full set of tars, and the bundled compact part.

    python benchmarks/assets/build_emoji.py full --packages DIR --output FULL
    python benchmarks/assets/build_emoji.py full --size 256 --packages DIR \\
        --output FULL_256
    python benchmarks/assets/build_emoji.py compact --full FULL \\
        --output FILE.zip

`full` needs the npm packages below, packed into DIR and left as .tgz files,
and `pip install resvg_py`:

    npm pack emojibase-data@17.0.0 @iconify-json/noto@1.2.9 \\
        @iconify-json/noto-v1@1.2.5 @iconify-json/twemoji@1.2.5 \\
        @iconify-json/emojione@1.2.3 @iconify-json/fxemoji@1.2.2 \\
        @iconify-json/fluent-emoji-flat@1.2.6 \\
        @lobehub/fluent-emoji-3d@1.1.0 @lobehub/fluent-emoji-modern@1.0.0

It draws every emoji that emojibase names, at 128 by 128 pixels (or `--size`) on
white, one tar of WebP pictures with a `metadata.jsonl` per style. OpenMoji is
left out, as its licence (CC-BY-SA-4.0) asks the same of what is made from it.

About the split. The one in the bundled set was drawn once and the hash behind
it was not kept, so it is not computed anew: the split of every (thing, hand)
that the bundled set knows is read from there. What it does not know goes by
this script's own hash, by thing and then by thing and hand, with the same
shares. All skin tones of a thing share its split. Newer packages, and names
that this script matches better, may add drawings to those of the bundled set.

`compact` keeps the drawings without skin tones, at 64 pixels, in a zip: the
512-byte headers of a tar would nearly double the size of such small files.
"""

import argparse
import hashlib
import io
import json
import os
import pathlib
import re
import tarfile
import unicodedata
import zipfile

from PIL import Image

from keras_muse.data.decoding import decode
from keras_muse.data.emoji import BUNDLED
from keras_muse.data.emoji import SKIN_TONE
from keras_muse.data.sources import find_rows

SIZE, COMPACT_SIZE = 128, 64
QUALITY, COMPACT_QUALITY = 90, 82

# style: (start of the package's file name, family, licence)
STYLES = {
    "emojione": ("iconify-json-emojione", "emojione", "CC-BY-4.0"),
    "fluent 3d": ("lobehub-fluent-emoji-3d", "fluent", "MIT"),
    "fluent flat": ("iconify-json-fluent-emoji-flat", "fluent", "MIT"),
    "fluent gradient": ("lobehub-fluent-emoji-modern", "fluent", "MIT"),
    "fxemoji": ("iconify-json-fxemoji", "fxemoji", "Apache-2.0"),
    "noto": ("iconify-json-noto", "noto", "Apache-2.0"),
    "noto blob": ("iconify-json-noto-v1", "noto blob", "Apache-2.0"),
    "twemoji": ("iconify-json-twemoji", "twemoji", "CC-BY-4.0"),
}
# In these two packages the tones 3 and 4 carry each other's names.
SWAPPED_TONES = ("fluent 3d", "fluent gradient")
SWAP = str.maketrans({"c": "d", "d": "c"})


def build_full(packages, output, styles, size):
    things = list(read_things(open_package(packages, "emojibase-data")))
    known_splits = read_known_splits()
    os.makedirs(output, exist_ok=True)
    for style in styles:
        start, family, licence = STYLES[style]
        files = open_package(packages, start)
        if start.startswith("iconify"):
            draw = iconify_drawings(files, size)
        else:
            swap = style in SWAPPED_TONES
            draw = lobehub_drawings(files, size, swap)
        rows, pictures = [], {}
        for thing in things:
            drawing = draw(thing)
            if drawing is None:
                continue
            name = f"{thing['code']}.webp"
            pictures[name] = to_webp(drawing, size, QUALITY)
            row = {"file_name": name, "text": thing["text"], "style": style}
            row |= {"family": family, "concept": thing["concept"]}
            row |= {"tags": thing["tags"], "group": thing["group"]}
            row |= {"licence": licence}
            row["split"] = split_of(thing["concept"], family, known_splits)
            rows.append(row)
        path = pathlib.Path(output) / f"{style.replace(' ', '_')}.tar"
        write_tar(path, pictures, rows)
        print(json.dumps({"style": style, "rows": len(rows)}))


def build_compact(full, output):
    rows, pictures = [], {}
    for row in find_rows(full):
        if SKIN_TONE in row.metadata["text"]:
            continue
        style = row.metadata["style"].replace(" ", "_")
        name = f"{style}/{row.metadata['file_name']}"
        picture = Image.fromarray(decode(row.read(), (COMPACT_SIZE,) * 2))
        pictures[name] = to_webp(picture, COMPACT_SIZE, COMPACT_QUALITY)
        rows.append({**row.metadata, "file_name": name})
    write_zip(output, pictures, rows)
    size = os.path.getsize(output)
    print(json.dumps({"rows": len(rows), "megabytes": round(size / 1e6, 2)}))


# === Captions ===


def read_things(files):
    """Every emoji with its caption, tags and group; tones are things too."""
    data = json.loads(files["package/en/data.json"]())
    messages = json.loads(files["package/en/messages.json"]())
    groups = {group["order"]: group["message"] for group in messages["groups"]}
    for base in data:
        if "group" not in base:
            continue  # regional indicators, which only flags are made of
        for emoji in [base, *base.get("skins", [])]:
            yield {
                "code": bare(emoji["hexcode"]),
                "text": emoji["label"],
                "concept": without_tones(emoji["hexcode"]),
                "tags": base.get("tags", []),
                "group": groups[base["group"]],
            }


def bare(code):
    """A sequence of code points without variation selectors."""
    return code.lower().replace("-fe0f", "")


def without_tones(code):
    """The thing itself: its code points without those of skin tones."""
    parts = [p for p in bare(code).split("-") if not re.match("1f3f[b-f]", p)]
    return "-".join(parts).upper()


def read_known_splits():
    """`{(concept, family): split}` of the bundled set, if it is there."""
    if not BUNDLED.exists():
        return {}
    return {
        (row.metadata["concept"], row.metadata["family"]): row.metadata["split"]
        for row in find_rows(BUNDLED)
    }


def split_of(concept, family, known):
    """The known split, else one drawn by hash; see the top of this file."""
    if (concept, family) in known:
        return known[concept, family]
    # A thing that was held out whole stays so in every hand's drawing.
    others = {split for (thing, _), split in known.items() if thing == concept}
    if others == {"test_concept"} or (not others and share(concept) < 0.04):
        return "test_concept"
    return "test_pair" if share(f"{concept} {family}") < 0.07 else "train"


def share(key):
    """A hash of `key` in [0, 1)."""
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


# === Drawings ===


def open_package(packages, start):
    """The files of the package whose .tgz begins so, `{name: reader}`."""
    pattern = re.compile(re.escape(start) + r"-\d+\.\d+\.\d+\.tgz")
    found = [n for n in os.listdir(packages) if pattern.fullmatch(n)]
    if len(found) != 1:
        raise ValueError(
            f"`packages` must hold one {start}-*.tgz. Received: "
            f"packages={packages!r} with {found}"
        )
    archive = tarfile.open(pathlib.Path(packages) / found[0], "r:gz")
    contents = {
        member.name: archive.extractfile(member).read()
        for member in archive
        if member.isreg()
    }
    return {name: (lambda c=c: c) for name, c in contents.items()}


def iconify_drawings(files, size):
    """A function from a thing to its drawing, or None.

    Drawings go by code points where the package lists them, else by name.
    """
    icons = json.loads(files["package/icons.json"]())
    codes = json.loads(files["package/chars.json"]())
    codes = {bare(code): name for code, name in codes.items()}

    def draw(thing):
        names = [codes.get(thing["code"]), *name_guesses(thing["text"])]
        icon = next(
            (icons["icons"][n] for n in names if n in icons["icons"]), None
        )
        if icon is None:
            return None
        width = icon.get("width", icons.get("width", 16))
        height = icon.get("height", icons.get("height", 16))
        return render(
            '<svg xmlns="http://www.w3.org/2000/svg" '
            'xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{icon.get("left", 0)} {icon.get("top", 0)} '
            f'{width} {height}">{icon["body"]}</svg>',
            size,
        )

    return draw


def name_guesses(text):
    """How the packages without code points may have named a caption."""
    text = (
        text.replace("&", "and").replace("#", "hash").replace("*", "asterisk")
    )
    text = re.sub("[’'“”.]", "", text)
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore")
    slug = re.sub(r"[^a-z0-9]+", "-", text.decode().lower()).strip("-")
    country = re.sub("^flag-", "flag-for-", slug)
    return [slug, country, slug.replace("-", "")]


def lobehub_drawings(files, size, swap):
    drawings = {}
    for name, read in files.items():
        stem, ending = os.path.splitext(os.path.basename(name))
        if ending in (".svg", ".webp"):
            code = bare(stem)
            if swap:
                code = re.sub(
                    "1f3f[cd]", lambda tone: tone[0].translate(SWAP), code
                )
            drawings[code] = (ending, read)

    def draw(thing):
        if thing["code"] not in drawings:
            return None
        ending, read = drawings[thing["code"]]
        return render(read().decode(), size) if ending == ".svg" else read()

    return draw


def render(svg, size):
    import resvg_py

    return bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size))


# === Files ===


def to_webp(picture, size, quality):
    """Encodes a drawing, flattened on white."""
    if isinstance(picture, bytes):
        picture = Image.fromarray(decode(picture, (size, size)))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality, method=6)
    return buffer.getvalue()


def to_jsonl(rows):
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    return ("\n".join(lines) + "\n").encode()


def write_tar(path, pictures, rows):
    partial = f"{path}.partial"
    with tarfile.open(partial, "w") as archive:
        for name, content in sorted(pictures.items()):
            _add(archive, name, content)
        _add(archive, "metadata.jsonl", to_jsonl(rows))
    os.replace(partial, path)


def _add(archive, name, content):
    member = tarfile.TarInfo(name)  # time 0, so that builds repeat exactly
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def write_zip(path, pictures, rows):
    partial = f"{path}.partial"
    with zipfile.ZipFile(partial, "w") as archive:
        for name, content in sorted(pictures.items()):
            # Compressed already; ZipInfo's own date repeats exactly.
            archive.writestr(zipfile.ZipInfo(name), content)
        archive.writestr(
            zipfile.ZipInfo("metadata.jsonl"),
            to_jsonl(rows),
            compress_type=zipfile.ZIP_DEFLATED,
        )
    os.replace(partial, path)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    full = commands.add_parser("full", help="draw everything")
    full.add_argument("--size", type=int, default=SIZE, help="default: 128")
    full.add_argument("--packages", required=True)
    full.add_argument("--output", required=True)
    full.add_argument("--styles", nargs="+", default=list(STYLES))
    compact = commands.add_parser("compact", help="the bundled part")
    compact.add_argument("--full", required=True)
    compact.add_argument("--output", default=str(BUNDLED))
    args = parser.parse_args()
    if args.command == "full":
        build_full(args.packages, args.output, args.styles, args.size)
    else:
        build_compact(args.full, args.output)


if __name__ == "__main__":
    main()
