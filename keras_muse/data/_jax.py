"""Processes and their devices on JAX."""

import itertools

import grain
import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import multihost

# Each barrier has a number of its own; all processes count alike.
_BARRIERS = itertools.count()
# Of two processes, one may have nothing left to do after a restart.
_LONGEST_WAIT = 7 * 24 * 60 * 60 * 1000  # milliseconds


def local_devices():
    return jax.local_devices()


def this_process():
    if not jax.distributed.is_initialized():
        # Asking JAX for the process would start its backend.
        return grain.sharding.NoSharding()
    return grain.sharding.ShardByJaxProcess()


def failed_processes(has_failed):
    """Waits for all processes; returns the numbers of those that failed.

    The wait is one of hosts, not of devices, whose networks have deadlines.
    """
    multihost.get_barrier_sync_fn()(
        key=f"keras_muse.data.{next(_BARRIERS)}", timeout_ms=_LONGEST_WAIT
    )
    flags = multihost_utils.process_allgather(np.array(has_failed))
    return np.flatnonzero(flags).tolist()


def are_local(mesh):
    """Whether all devices of a mesh are of this process."""
    return all(
        device.process_index == jax.process_index()
        for device in mesh.devices.flat
    )
