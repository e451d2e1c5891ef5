"""Free ports, and waiting for other processes: nothing of them can call us."""

import socket
import time

#: Nothing here takes this long (seconds) on a machine that works.
DEADLINE = 90


def free_port():
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return one.getsockname()[1]


def answers(port):
    """Does somebody accept connections there?"""
    with socket.socket() as one:
        one.settimeout(1)
        return not one.connect_ex(('127.0.0.1', port))


def wait_until(condition, told=lambda: '', processes=()):
    """Wait for something true.  Returns: what the condition gave.

    Arguments: ``told()``, says what was there instead; ``processes``, which
    have to live meanwhile.
    """
    deadline = time.monotonic() + DEADLINE
    while not (found := condition()):
        for process in processes:
            assert process.poll() is None, f'it has ended: {told()}'
        assert time.monotonic() < deadline, (
            f'not within {DEADLINE} s: {told()}')
        time.sleep(0.02)
    return found
