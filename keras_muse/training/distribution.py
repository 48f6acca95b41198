"""Training and generating on many devices and hosts.

All of it is `keras.distribution`, which works on JAX: one program over a mesh
of devices, in which XLA puts the communication. The mesh has the axes `batch`,
over which examples are split, and `model`, over which weights are.

`fit` and `evaluate` take, in each process, that process's part of each batch:
`auto_shard_dataset`, which Keras has for tf.data only, is off. The datasets of
`keras_muse.data` give each process its part themselves.
`generate`, `predict`, `encode` and `decode` take and return all rows in every
process, and need a seed where there are several processes.
"""

import importlib
import math
import os
import re

import keras
import numpy as np

from keras_muse.models import layouts
from keras_muse.runtime.checks import check_bool
from keras_muse.runtime.checks import check_int
from keras_muse.runtime.checks import check_model
from keras_muse.runtime.checks import show


def initialize(job_addresses=None, num_processes=None, process_id=None):
    """Joins the processes of many hosts to one job.

    Every process calls it first of all, before anything asks for a device,
    and then runs the same program. On Cloud TPU it takes no arguments; on
    other clusters, all three, or the environment variables of
    `keras.distribution.initialize`. The seeds of Keras become the same
    everywhere. Hosts named so are reached directly, past an `http_proxy`.

    Args:
        job_addresses: string. Host and port of process 0, which the others
            can reach.
        num_processes: int. Number of processes.
        process_id: int in [0, num_processes). Which of them this is.

    Raises:
        ValueError: if an argument is out of its range, or `num_processes` and
            `process_id` do not come together.

    Example:

    ```python
    from keras_muse.training import distribution

    distribution.initialize("10.0.0.1:1234", num_processes=2, process_id=0)
    distribution.data_parallel()
    ```
    """
    _leaf()
    given = [job_addresses, num_processes, process_id]
    if None in given[1:] and given[1:] != [None, None]:
        raise ValueError(
            "`num_processes` and `process_id` go together. Received: "
            f"num_processes={num_processes}, process_id={process_id}"
        )
    if process_id is not None:
        num_processes = check_int(num_processes, "num_processes")
        process_id = check_int(process_id, "process_id", low=0)
    if process_id is not None and process_id >= num_processes:
        raise ValueError(
            "`process_id` must be in [0, num_processes). Received: "
            f"num_processes={num_processes}, process_id={process_id}"
        )
    if not isinstance(job_addresses, str | None):
        raise ValueError(
            "`job_addresses` must be a string, host and port of process 0. "
            f"Received: job_addresses={show(job_addresses)}"
        )
    _bypass_proxies(
        job_addresses or os.environ.get("KERAS_DISTRIBUTION_JOB_ADDRESSES", "")
    )
    keras.distribution.initialize(job_addresses, num_processes, process_id)


def data_parallel(devices=None):
    """Splits examples over all devices; each has all weights.

    Call it before a model is made, and the same in each process.

    Args:
        devices: list of devices or of their names, as
            `keras.distribution.list_devices` gives them. Defaults to all,
            arranged for fast communication.

    Returns:
        The `keras.distribution.DataParallel`, which is set from now on.
        `keras.distribution.set_distribution(None)` ends it.

    Raises:
        ValueError: if the backend is not JAX.

    Example:

    ```python
    import keras
    import numpy as np

    import keras_muse
    from keras_muse.training import data_parallel

    data_parallel()
    tokenizer = keras_muse.VQGANTokenizer(
        base_channels=8, channel_multipliers=(1, 2), num_res_blocks=1,
        codebook_size=32, codebook_dim=8, num_groups=4,
    )
    token_ids = tokenizer.encode(np.zeros((3, 8, 8, 3), "uint8"))
    keras.distribution.set_distribution(None)
    ```
    """
    leaf = _leaf()
    found = leaf.find_devices(devices)
    arranged = leaf.arrange(found, (len(found),), devices is not None)
    mesh = keras.distribution.DeviceMesh(
        (len(found),), ["batch"], devices=arranged
    )
    return _set(
        keras.distribution.DataParallel(
            device_mesh=mesh, auto_shard_dataset=False
        )
    )


def model_parallel(model_parallel_size=None, fully_sharded=False, devices=None):
    """Splits weights over devices, and examples over groups of devices.

    Heads and the columns of the MLPs are split over the `model` axis of the
    mesh, for `MuseBase`, `MuseSuperRes` and `T5TextEncoder` alike. Tokenizers
    are whole on each device. Call it before a model is made, and the same in
    each process; `check_layout` shows what became of a model.

    Args:
        model_parallel_size: int. Devices that share the weights of a layer:
            it divides the number of devices of a host, the heads and the
            widths of the models. Defaults to the devices of one host, or to
            1 if `fully_sharded`.
        fully_sharded: bool. Whether weights, and with them the optimizer's
            slots, are split over all devices, and gathered where a layer
            needs them. Defaults to `False`.
        devices: as in `data_parallel`.

    Returns:
        The `keras.distribution.ModelParallel`, which is set from now on.

    Raises:
        ValueError: if `model_parallel_size` does not divide the number of
            devices of all hosts and of one, or the backend is not JAX.

    Example:

    ```python
    import keras

    import keras_muse
    from keras_muse.training import check_layout
    from keras_muse.training import model_parallel

    model_parallel(fully_sharded=True)
    base = keras_muse.MuseBase(
        codebook_size=32, grid_size=(4, 4), text_dim=8, num_layers=2,
        hidden_dim=16, num_heads=2, intermediate_dim=32,
    )
    print(check_layout(base))
    keras.distribution.set_distribution(None)
    ```

    Reference:
        - [Megatron-LM](https://arxiv.org/abs/1909.08053), the split of layers
        - [ZeRO](https://arxiv.org/abs/1910.02054), full sharding
    """
    leaf = _leaf()
    fully_sharded = check_bool(fully_sharded, "fully_sharded")
    found = leaf.find_devices(devices)
    local = leaf.num_local_devices(found)
    if model_parallel_size is None:
        model_parallel_size = 1 if fully_sharded else local
    model_parallel_size = check_int(model_parallel_size, "model_parallel_size")
    # Hosts that shared a replica would each have to give the same examples.
    if len(found) % model_parallel_size or local % model_parallel_size:
        raise ValueError(
            "`model_parallel_size` must divide the number of devices, "
            f"{len(found)}, and those of this host, {local}. Received: "
            f"model_parallel_size={model_parallel_size}"
        )
    shape = (len(found) // model_parallel_size, model_parallel_size)
    mesh = keras.distribution.DeviceMesh(
        shape,
        ["batch", "model"],
        devices=leaf.arrange(found, shape, devices is not None),
    )
    return _set(
        CheckedModelParallel(
            layout_map=layouts.layout_map(
                layouts.ALL_RULES, mesh, fully_sharded
            ),
            batch_dim_name="batch",
            auto_shard_dataset=False,
        )
    )


class CheckedModelParallel(keras.distribution.ModelParallel):
    """Keras' own, which names a variable that the mesh does not divide."""

    def get_variable_layout(self, variable):
        layout = super().get_variable_layout(variable)
        _num_parts(variable, layout)
        return layout


def _bypass_proxies(addresses):
    """Has gRPC connect to these hosts itself where `http_proxy` is set.

    Through a proxy, processes of one cluster do not find each other.
    """
    hosts = [address.rpartition(":")[0] for address in addresses.split(",")]
    known = os.environ.get("no_grpc_proxy") or os.environ.get("no_proxy")
    hosts = filter(None, [known, *hosts])
    os.environ["no_grpc_proxy"] = ",".join(hosts)


def _leaf():
    if keras.config.backend() != "jax":
        raise ValueError(
            "`keras.distribution` works on JAX only: set KERAS_BACKEND=jax. "
            f"Received: backend={keras.config.backend()!r}"
        )
    return importlib.import_module("keras_muse.training._jax")


def _set(distribution):
    keras.distribution.set_distribution(distribution)
    return distribution


def check_layout(model, min_bytes=2**20):
    """Checks how a model's weights lie on the devices, and says so.

    Args:
        model: a model, with or without values (as
            `keras.StatelessScope(initialize_variables=False)` leaves them).
        min_bytes: int. Size from which a variable that is whole on every
            device is listed. Defaults to 1 MiB.

    Returns:
        A dict: `"mesh"`, the size of each axis; `"bytes"` of all weights and
        `"bytes_per_device"`; `"replicated"`, the bytes of each variable, by
        its path, that is whole on every device, largest first.

    Raises:
        ValueError: if there is no distribution; if a rule of the layout
            matches no variable, or several match one; if the mesh does not
            divide the heads of the model or an axis of a variable.
    """
    check_model(model, "model", "variables")
    min_bytes = check_int(min_bytes, "min_bytes", low=0, high=2**62)
    distribution = keras.distribution.distribution()
    if distribution is None:
        raise ValueError(
            "`check_layout` needs a distribution: call `data_parallel` or "
            "`model_parallel` first. Received: distribution=None"
        )
    mesh = _mesh_sizes(distribution.device_mesh)
    if isinstance(distribution, keras.distribution.ModelParallel):
        _check_rules(model, distribution)
        _check_heads(model, mesh)
    report = {"mesh": mesh, "bytes": 0, "bytes_per_device": 0}
    replicated = {}
    for variable in model.variables:
        layout = distribution.get_variable_layout(variable)
        num_parts = _num_parts(variable, layout)
        size = math.prod(variable.shape) * np.dtype(variable.dtype).itemsize
        report["bytes"] += size
        report["bytes_per_device"] += size // num_parts
        if num_parts == 1 and size >= min_bytes:
            replicated[variable.path] = size
    largest_first = sorted(replicated.items(), key=lambda item: -item[1])
    return {**report, "replicated": dict(largest_first)}


def _check_rules(model, distribution):
    # Keras has no public name for the layout map of a distribution.
    rules = [
        rule
        for rule in distribution._layout_map
        if not rule.endswith("/output")  # of what layers hand on
    ]
    own = set()
    if hasattr(model, "get_layout_map"):
        own = set(model.get_layout_map(distribution.device_mesh))
    unused = set(rules)
    for variable in model.variables:
        matching = [r for r in rules if re.fullmatch(r, variable.path)]
        unused.difference_update(matching)
        if len(matching) > 1:
            raise ValueError(
                "One rule of the layout must match a variable. Received: "
                f"{variable.path}, which {matching} match"
            )
    # The other models' rules are there too.
    unused -= layouts.ALL_RULES.keys() - own
    if unused:
        raise ValueError(
            "A rule of the layout must match a variable of the model; it "
            "matches whole paths. Received: "
            f"{sorted(unused)}, which match none of {model.name!r}"
        )


def _check_heads(model, mesh):
    for name in ("num_heads", "stage_num_heads"):
        num_heads = getattr(model, name, 0)
        if num_heads % mesh.get("model", 1):
            raise ValueError(
                "The `model` axis of the mesh must divide the heads of the "
                f"model. Received: {name}={num_heads}, model={mesh['model']}"
            )


def _num_parts(variable, layout):
    """Into how many parts a variable is split."""
    mesh, num_parts = _mesh_sizes(layout.device_mesh), 1
    for size, axis in zip(variable.shape, layout.axes, strict=True):
        if axis is not None and size % mesh[axis]:
            raise ValueError(
                f"The {axis!r} axis of the mesh must divide what it splits. "
                f"Received: {variable.path} of shape {tuple(variable.shape)}, "
                f"split as {layout.axes}, {axis}={mesh[axis]}"
            )
        num_parts *= mesh.get(axis, 1)
    return num_parts


def _mesh_sizes(device_mesh):
    return dict(zip(device_mesh.axis_names, device_mesh.shape, strict=True))
