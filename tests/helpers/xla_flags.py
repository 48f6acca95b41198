"""How XLA compiles what the tests run once or twice."""

import importlib.metadata


def xla_flags(num_devices=None):
    """The environment variable `XLA_FLAGS`.

    Args:
        num_devices: int or `None`. How many devices the processor is to be.

    Returns:
        String.
    """
    flags = [
        # Programs that run once or twice are not worth optimizing.
        "--xla_backend_optimization_level=0",
        # Each process of pytest-xdist has a core: threads would fight.
        "--xla_cpu_multi_thread_eigen=false",
        "--xla_cpu_parallel_codegen_split_count=1",
    ]
    version = importlib.metadata.version("jaxlib").split(".")
    if [int(part) for part in version[:2]] < [0, 11]:
        # The older way to emit kernels takes half the time. It is gone since,
        # and an unknown flag would end the process.
        flags.append("--xla_cpu_use_fusion_emitters=false")
    if num_devices is not None:
        flags.append(f"--xla_force_host_platform_device_count={num_devices}")
    return " ".join(flags)
