"""`keras-muse tokenize`."""

HELP = "turn captioned pictures into token shards"
DESCRIPTION = (
    "Tokenizes a collection, to train on. Run by several processes, each does "
    "its part; started again after a kill, it keeps what is done."
)


def add_arguments(command):
    command.add_argument(
        "pictures",
        metavar="PICTURES",
        help="what `load_image_text` reads: a folder, a .csv, .tar or .zip, "
        "'tfds:NAME'; or 'emoji', the bundled drawings",
    )
    command.add_argument(
        "--output", required=True, help="directory for the shards"
    )
    command.add_argument(
        "--preset",
        required=True,
        help="directory or handle of a Muse; only its tokenizers and its text "
        "encoder are loaded",
    )
    command.add_argument(
        "--split",
        help="the rows to take (default: all; those of train for 'emoji')",
    )
    command.add_argument(
        "--image-size",
        type=int,
        help="pixels a side (default: those of the pictures)",
    )
    command.add_argument(
        "--high-res-image-size",
        type=int,
        help="pixels a side, for the super-resolution model's tokens "
        "(default: no such tokens)",
    )
    command.add_argument(
        "--other-grid",
        action="store_true",
        help="allow sizes that the preset's transformers have no grid for, to "
        "train others",
    )
    command.add_argument(
        "--num-views",
        type=int,
        default=1,
        help="how often each picture is tokenized: once as it is, then random "
        "parts of it",
    )
    command.add_argument(
        "--crop-scale",
        type=float,
        nargs=2,
        default=(0.7, 1.0),
        metavar=("LOW", "HIGH"),
        help="how large those parts are, as shares of the area",
    )
    command.add_argument(
        "--random-flip",
        action="store_true",
        help="mirror half of these parts; not where there is writing",
    )
    command.add_argument(
        "--rows-per-shard", type=int, default=8192, help="rows of a file"
    )
    command.add_argument(
        "--batch-size", type=int, default=32, help="pictures per device"
    )
    command.add_argument(
        "--store",
        default="text_embeddings",
        help="what is kept of texts: text_embeddings, or text_ids, to be "
        "encoded while training",
    )
    command.add_argument(
        "--seed", type=int, default=0, help="seed of the random parts"
    )
    command.add_argument(
        "--overwrite", action="store_true", help="replace earlier shards"
    )
    command.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="of process 0, for several processes; not needed where JAX finds "
        "them itself, as on Cloud TPU, Slurm and Open MPI",
    )
    command.add_argument(
        "--num-processes",
        type=int,
        help="how many there are in all (default: as found)",
    )
    command.add_argument(
        "--process-id",
        type=int,
        help="which of them this one is, from 0 on (default: as found)",
    )


def run(options):
    from keras_muse.data import processes
    from keras_muse.data import write_token_shards

    # Before anything else asks for a device.
    processes.join(
        options.coordinator, options.num_processes, options.process_id
    )
    from keras_muse.muse.preset import grid_sizes
    from keras_muse.muse.preset import load_parts

    pairs = _load_pictures(options)
    parts = load_parts(
        options.preset,
        names=["text_encoder", "image_tokenizer", "high_res_image_tokenizer"],
    )
    tokenizer = high_res_tokenizer = parts["image_tokenizer"]
    if options.high_res_image_size is None:
        high_res_tokenizer = None
    elif "high_res_image_tokenizer" in parts:
        high_res_tokenizer = parts["high_res_image_tokenizer"]
    if not options.other_grid:
        grids = grid_sizes(options.preset)
        size = options.image_size
        if size is None:
            size = _size_of_first(pairs)
        _check_grid("image_size", size, tokenizer, grids.get("base"))
        if high_res_tokenizer is not None:
            _check_grid(
                "high_res_image_size",
                options.high_res_image_size,
                high_res_tokenizer,
                grids.get("super_res"),
            )
    report = write_token_shards(
        pairs,
        options.output,
        tokenizer,
        parts["text_encoder"],
        high_res_tokenizer=high_res_tokenizer,
        image_size=options.image_size,
        high_res_image_size=options.high_res_image_size,
        num_views=options.num_views,
        crop_scale=tuple(options.crop_scale),
        random_flip=options.random_flip,
        rows_per_shard=options.rows_per_shard,
        batch_size=options.batch_size,
        store=options.store,
        seed=options.seed,
        overwrite=options.overwrite,
    )
    print(
        f"{options.output}: {report['num_records']} pictures, "
        f"{report['num_skipped']} skipped"
    )


def _load_pictures(options):
    """Pictures as they are, and not opened before they are tokenized."""
    from keras_muse.data import load_emoji
    from keras_muse.data import load_image_text

    if options.pictures == "emoji":
        return load_emoji(split=options.split or "train")
    return load_image_text(options.pictures, split=options.split, verify=None)


def _size_of_first(pairs):
    """`(height, width)` of the first picture that can be decoded."""
    for row in pairs.iterate_rows():
        return row["image"].shape[:2]
    return None


def _check_grid(argument, size, tokenizer, grid_size):
    """Refuses a size whose tokens no transformer of the preset takes.

    Args:
        argument: string. What the size is called.
        size: int, pair of ints `(height, width)`, or `None`, not known.
        tokenizer: `VQGANTokenizer`.
        grid_size: pair of ints, or `None` where there is no transformer.
    """
    height, width = (size, size) if isinstance(size, int) else size or (0, 0)
    factor = tokenizer.downsampling_factor
    if grid_size is None or size is None or height % factor or width % factor:
        return  # what no tokenizer takes, it says itself
    right = tuple(side * factor for side in grid_size)
    if (height, width) != right:
        raise ValueError(
            f"`{argument}` must be {right[0]} x {right[1]} pixels, of which "
            f"the preset's model has the grid {grid_size[0]} x {grid_size[1]}; "
            "pass `--other-grid` for a model of another. Received: "
            f"{argument} of {height} x {width}"
        )
