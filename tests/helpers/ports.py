"""Where processes that tests start find each other."""

import random
import socket

# Systems give out ports from 32768 on themselves: one of those may be another
# program's by the time that the process is up.
PORTS = range(16_384, 32_768)


def free_address():
    """An address of this machine on which nobody listens."""
    # Each process of pytest-xdist begins with the same seed.
    choose = random.SystemRandom().choice
    while True:
        address = "127.0.0.1", choose(PORTS)
        with socket.socket() as tried:
            try:
                tried.bind(address)
            except OSError:
                continue
        return "{}:{}".format(*address)
