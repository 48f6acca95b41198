"""What half an hour of `keras-muse train` makes of pictures it never saw.

Fashion-MNIST (Xiao et al., 2017), 10 kinds of clothes at 28 pixels, from the
files of Debian's package `dataset-fashion-mnist`. A small classifier, trained
on true pictures that the model was not given, says how many of the drawn
pictures are what their captions ask for; beside them true test pictures, and
those as tokens and back, which bound what can be drawn. How alike the pictures
of one kind are is their mean distance of pixels: a model that draws one picture
again and again would be recognised, and would have none.

    python benchmarks/own_pictures.py --write fashion
    keras-muse train fashion --output out --minutes 30
    python benchmarks/own_pictures.py --score out/preset --pictures sheet.png
"""

import argparse
import contextlib
import gzip
import pathlib
import sys

import keras
import numpy as np
from PIL import Image
from table import print_rows

import keras_muse
from keras_muse.data.decoding import resize
from keras_muse.ops.images import to_pixels
from keras_muse.training import draw_grid

# In the order of the dataset's labels.
CAPTIONS = (
    "a T-shirt",
    "a pair of trousers",
    "a pullover",
    "a dress",
    "a coat",
    "a sandal",
    "a shirt",
    "a sneaker",
    "a bag",
    "an ankle boot",
)
WRITTEN = 6000  # the first training pictures; the classifier gets the others
SIZE = 28


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--write", help="a directory for PNGs and captions")
    parser.add_argument("--score", help="a preset that `train` has left")
    parser.add_argument("--each", type=int, default=100, help="of one kind")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--pictures", help="where a sheet of the drawn goes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.write:
        write(options.source, pathlib.Path(options.write))
    if options.score:
        # Progress bars are no rows.
        with contextlib.redirect_stdout(sys.stderr):
            rows = score(options)
        title = f"{options.score}, {options.each} pictures of a kind"
        print_rows(rows, options.json, title)


def read(source, part):
    """Pictures `(n, 28, 28)` and labels `(n,)`, from files in IDX format."""
    arrays = []
    for name, header in (("images-idx3", 16), ("labels-idx1", 8)):
        path = pathlib.Path(source, f"{part}-{name}-ubyte.gz")
        data = gzip.decompress(path.read_bytes())
        arrays.append(np.frombuffer(data, "uint8", offset=header))
    images, labels = arrays
    return images.reshape(-1, SIZE, SIZE), labels


def write(source, directory):
    """Each picture as a PNG, beside a text file with its caption."""
    images, labels = read(source, "train")
    directory.mkdir(parents=True, exist_ok=True)
    for i in range(WRITTEN):
        Image.fromarray(images[i]).save(directory / f"{i:05d}.png")
        caption = directory / f"{i:05d}.txt"
        caption.write_text(f"{CAPTIONS[labels[i]]}\n")


def score(options):
    """A row of each kind of pictures, by what the classifier takes them for."""
    classifier = trained_classifier(options)
    muse = keras_muse.Muse.from_preset(options.score)
    labels = np.repeat(np.arange(len(CAPTIONS)), options.each)
    true = true_pictures(options, labels)
    drawn = muse.generate([CAPTIONS[label] for label in labels], seed=0)
    if options.pictures:
        few = drawn.reshape(len(CAPTIONS), options.each, *drawn.shape[1:])
        few = few[:, :10].reshape(-1, *drawn.shape[1:])
        draw_grid(few, columns=10, path=options.pictures)
    kinds = {
        "true": true,
        "true, through tokens": through_tokens(muse, true),
        "drawn": grey(drawn),
    }
    return [
        {"pictures": name, **recognised(classifier, images, labels)}
        for name, images in kinds.items()
    ]


def trained_classifier(options):
    """Knows about 91 % of the true test pictures."""
    images, labels = read(options.source, "train")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    classifier = keras.Sequential(
        [
            layers.Input((SIZE, SIZE, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(128, activation="relu"),
            layers.Dense(len(CAPTIONS)),
        ]
    )
    classifier.compile(
        "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    classifier.fit(
        images[WRITTEN:, ..., None],
        labels[WRITTEN:],
        batch_size=256,
        epochs=options.epochs,
        verbose=2,
    )
    return classifier


def true_pictures(options, labels):
    """The first test pictures of each kind, in the order of `labels`."""
    images, their_labels = read(options.source, "t10k")
    indices = [np.flatnonzero(their_labels == k) for k in range(len(CAPTIONS))]
    return images[np.concatenate([i[: options.each] for i in indices])]


def through_tokens(muse, images):
    """Grey pictures as tokens and back, at the size that the model draws."""
    factor = muse.image_tokenizer.downsampling_factor
    size = [factor * side for side in muse.base.grid_size]
    colour = np.repeat(images[..., None], 3, axis=-1)
    pixels = muse.image_tokenizer.predict(resize(colour, size), verbose=0)
    return grey(to_pixels(pixels))


def grey(images):
    """uint8 `(n, height, width, 3)` as `(n, 28, 28)`."""
    pictures = [Image.fromarray(image).convert("L") for image in images]
    resized = [p.resize((SIZE, SIZE), Image.Resampling.BOX) for p in pictures]
    return np.stack([np.asarray(picture) for picture in resized])


def recognised(classifier, images, labels):
    """How many are taken for what they should be, and how much they differ."""
    logits = classifier.predict(images[..., None], verbose=0)
    pixels = images.reshape(len(CAPTIONS), -1, SIZE * SIZE) / 255.0
    mean = pixels.mean(axis=1, keepdims=True)
    return {
        "recognised": float((logits.argmax(axis=-1) == labels).mean()),
        "differ by": float(np.sqrt(np.square(pixels - mean).mean())),
    }


if __name__ == "__main__":
    main()
