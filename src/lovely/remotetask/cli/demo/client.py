"""The client process of the demo: it knows only the server's URL and token.

It reads the names of the files from standard input, submits two jobs for each
over XML-RPC, and prints a line of JSON for each job that has ended.
"""

import json
import os
import sys
import time
import xmlrpc.client
from collections import deque
from typing import Any

FINAL = ('completed', 'error', 'cancelled')

# How long (seconds) to wait between two looks at the job that is next to end.
FIRST_LOOK = 0.02
SLOWEST_LOOK = 1.0


def main(url: str) -> int:
    """Submit the jobs, wait for them, report.

    Arguments: ``url``, the service's; the token is in REMOTETASK_TOKEN.
    Returns: the exit code.
    """
    request = json.load(sys.stdin)
    service = xmlrpc.client.ServerProxy(
        url, allow_none=True, use_builtin_types=True,
        headers=[('Authorization',
                  f'Bearer {os.environ["REMOTETASK_TOKEN"]}')])
    waiting: deque[tuple[str, str, Any]] = deque()
    for file in request['files']:
        for kind, task, input in (
                ('manifest', 'demo.sha256', {'source': file['source']}),
                ('copy', 'demo.compress', {'source': file['source'],
                                           'target': file['target']})):
            waiting.append((kind, file['name'], service.add(task, input)))
    _report({'submitted': len(waiting)})
    while waiting:
        # Jobs end about in the order in which they were added, so only the
        # first one is watched: a look at all of them each time would cost
        # the square of their number.
        kind, name, jobid = waiting.popleft()
        status = _wait(service, jobid)
        report = {'kind': kind, 'name': name, 'id': jobid, 'status': status}
        if status == 'completed':
            report['result'] = service.getResult(jobid)
        else:
            report['error'] = service.getError(jobid)
        _report(report)
    return 0


def _wait(service: Any, jobid: Any) -> str:
    pause = FIRST_LOOK
    while True:
        status = str(service.getStatus(jobid))
        if status in FINAL:
            return status
        time.sleep(pause)
        pause = min(pause * 1.5, SLOWEST_LOOK)


def _report(facts: dict[str, Any]) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1]))
    except (OSError, xmlrpc.client.Error) as error:
        # The demo shows the last line.
        sys.exit(f'{type(error).__name__}: {error}')
