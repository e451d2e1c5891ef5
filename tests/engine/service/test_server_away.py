"""What is logged while a ZEO server is away."""

import gc
import threading
import time

import transaction
import ZEO

from lovely.remotetask.service import make_service
from lovely.remotetask.store.lanes import prefetch

DEADLINE = 30


def test_nothing_is_looked_ahead_for(tmp_path, caplog):
    address, stop = ZEO.server(str(tmp_path / 'Data.fs'),
                               port=('127.0.0.1', 0))
    database = ZEO.DB(address)
    connection = database.open()
    service = make_service(connection.root(), 'tasks')
    transaction.commit()
    parts = service.jobqueue.ready.trees
    connection.cacheMinimize()
    storage = database.storage
    stop()
    deadline, pause = time.monotonic() + DEADLINE, threading.Event()
    while storage.is_connected():
        assert time.monotonic() < deadline
        pause.wait(0.01)
    caplog.clear()
    prefetch(parts)
    # ZEO's own thread has done all that it was told to do before this.
    done = threading.Event()
    storage._server.loop.call_soon_threadsafe(done.set)
    assert done.wait(DEADLINE)
    gc.collect()
    assert [record.getMessage() for record in caplog.records
            if record.name == 'asyncio'] == []
    transaction.abort()
    connection.close()
    database.close()
