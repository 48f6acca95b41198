"""Devices on JAX."""

import jax
import numpy as np
from jax.experimental import mesh_utils


def find_devices(devices=None):
    """Devices, given by themselves or by names such as `"cpu:0"`."""
    if devices is None:
        return jax.devices()
    by_name = {f"{d.platform}:{d.id}": d for d in jax.devices()}
    if not isinstance(devices, list | tuple | np.ndarray) or not len(devices):
        raise ValueError(
            f"`devices` must be a list of some of {sorted(by_name)}. "
            f"Received: devices={devices!r}"
        )
    for device in devices:
        if not isinstance(device, jax.Device) and device not in by_name:
            raise ValueError(
                f"`devices` must be among {sorted(by_name)}. Received: "
                f"{device!r}"
            )
    found = [by_name.get(device, device) for device in devices]
    if len(set(found)) < len(found):
        raise ValueError(
            "`devices` must be different ones. Received: "
            f"devices={list(devices)}"
        )
    return found


def num_local_devices(devices):
    """How many of the devices are of this process."""
    return sum(d.process_index == jax.process_index() for d in devices)


def arrange(devices, shape, keep_order):
    """Devices as an array of this shape.

    On a TPU neighbours in the array are neighbours on the board, nearest
    along the last axis; elsewhere they come in their order.
    """
    if keep_order:
        return np.reshape(np.array(devices, dtype=object), shape)
    return mesh_utils.create_device_mesh(
        shape, devices, allow_split_physical_axes=True
    )


# === Checkpoints ===


def place(shape, dtype, sharding):
    """Shape, dtype and layout that a saved array is to be read into."""
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)


def local_parts(array):
    """The parts of an array that this process holds, as arrays of numpy."""
    return [np.asarray(shard.data) for shard in array.addressable_shards]


def stay_off_accelerators():
    """Keeps JAX on the processor where it is not the backend of Keras."""
    jax.config.update("jax_platforms", "cpu")
