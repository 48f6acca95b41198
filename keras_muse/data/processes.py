"""The processes of a job, as `jax.distributed` knows them."""

import contextlib
import importlib

import grain
import keras


def join(coordinator=None, num_processes=None, process_id=None):
    """Joins the job, if there is one, with this process's own devices.

    Call it before anything asks for a device.

    Args:
        coordinator, num_processes, process_id: see
            `keras_muse.training.distribution.initialize`. Without them the
            job is the one that JAX finds itself in.
    """
    from keras_muse.training import distribution

    given = [coordinator, num_processes, process_id]
    is_told = given != [None, None, None]
    if not is_told and keras.config.backend() != "jax":
        return
    try:
        distribution.initialize(*given)
    except ValueError as error:
        # What JAX says where it finds no job.
        if is_told or "coordinator_address" not in str(error):
            raise
    distribution.data_parallel(_leaf().local_devices())


def this_process():
    """Which of the processes of the job this is, without starting a backend.

    Returns:
        `grain.sharding.ShardOptions`, with `shard_index` and `shard_count`;
        0 of 1 where the processes were not joined by `jax.distributed`.
    """
    if keras.config.backend() != "jax":
        return grain.sharding.NoSharding()
    return _leaf().this_process()


@contextlib.contextmanager
def all_or_none():
    """A step of work which all processes of the job do, or none.

    Each waits at its end for the others. Where one raises, all do.
    """
    if this_process().shard_count == 1:
        yield
        return
    try:
        yield
    except Exception:
        _leaf().failed_processes(True)
        raise
    failed = _leaf().failed_processes(False)
    if failed:
        raise ValueError(
            "Each process must succeed in its part; the output of those that "
            f"failed says why. Received: failed processes {failed}"
        )


def check_own_devices():
    """Refuses a distribution over the devices of several processes.

    Each process would have to take part in every step of every other.
    """
    if spans_processes():
        raise ValueError(
            "Each process tokenizes on its own devices: without a "
            "distribution, or with `data_parallel(jax.local_devices())`. "
            f"Received: distribution={keras.distribution.distribution()}"
        )


def spans_processes():
    """Whether the current distribution has devices of other processes."""
    current = keras.distribution.distribution()
    if current is None or this_process().shard_count == 1:
        return False
    return not _leaf().are_local(current.device_mesh.backend_mesh)


def _leaf():
    return importlib.import_module("keras_muse.data._jax")
