"""`remotetask serve` while its database server hangs: stopped, not ended."""

import http.client
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from forked import DEADLINE
from waiting import free_port


@pytest.fixture
def zeo_process(tmp_path):
    """The process of a ZEO server, and its URI."""
    address = f'127.0.0.1:{free_port()}'
    server = subprocess.Popen(
        [sys.executable, '-m', 'ZEO.runzeo', '-a', address, '-f',
         str(tmp_path / 'Data.fs')], cwd=tmp_path, stderr=subprocess.DEVNULL)
    yield server, f'zeo://{address}?wait_timeout=30'
    server.send_signal(signal.SIGCONT)
    server.terminate()
    server.wait(DEADLINE)


def probe(server, path='readyz'):
    """The status of a probe, and how long (seconds) it took."""
    connection = http.client.HTTPConnection('127.0.0.1', server.port,
                                            timeout=DEADLINE)
    begun = time.monotonic()
    connection.request('GET', f'/tasks/{path}')
    status = connection.getresponse().status
    connection.close()
    return status, time.monotonic() - begun


def until(server, status):
    """Probe until this is the answer; the longest time that one took."""
    deadline, pause = time.monotonic() + DEADLINE, threading.Event()
    longest = 0.0
    while True:
        found, took = probe(server)
        longest = max(longest, took)
        if found == status:
            return longest
        assert time.monotonic() < deadline, found
        pause.wait(0.1)


def test_probes_of_a_server_whose_database_hangs(serve, zeo_process):
    zeo, uri = zeo_process
    server = serve('--db', uri, '--port', '0').ready()
    until(server, 200)
    threads = f'/proc/{server.process.pid}/task'
    before = len(os.listdir(threads))
    zeo.send_signal(signal.SIGSTOP)
    # A second; and a machine that has much to do meanwhile.
    assert until(server, 503) < 5
    for _ in range(20):
        status, took = probe(server)
        assert (status, took < 1) == (503, True), took
    assert probe(server, 'healthz')[0] == 200
    # The look that hangs, and no more for those that came later.
    assert len(os.listdir(threads)) <= before + 1
    zeo.send_signal(signal.SIGCONT)
    until(server, 200)
    assert server.stop() == 0
