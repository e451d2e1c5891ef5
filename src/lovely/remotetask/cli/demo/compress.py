"""The external command of the demo: it compresses a file.

A script of our own: the demo must not depend on a gzip that this machine may
not have.
"""

import gzip
import json
import os
import shutil
import sys


def main(source: str, target: str) -> None:
    """Write a gzipped copy of ``source`` to ``target``, whole or not at all,
    and print both sizes as JSON."""
    beside = f'{target}.{os.getpid()}.part'
    try:
        with open(source, 'rb') as read, open(beside, 'wb') as write:
            # Without name and time: the same file gives the same copy.
            with gzip.GzipFile('', 'wb', fileobj=write, mtime=0) as packed:
                shutil.copyfileobj(read, packed, 1 << 20)
            sizes = {'bytesIn': read.tell(), 'bytesOut': write.tell()}
        os.replace(beside, target)
    finally:
        if os.path.exists(beside):
            os.remove(beside)
    print(json.dumps(sizes))


if __name__ == '__main__':
    try:
        main(*sys.argv[1:])
    except OSError as error:
        # A line for the job's error, and no traceback.
        sys.exit(f'{error.strerror}: {error.filename}')
