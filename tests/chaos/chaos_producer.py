"""The producer of the chaos run: adds jobs while everything else breaks.

``python chaos_producer.py SEED ADDED ADDRESS...``; ADDED is the number up to
which jobs have been added, each line on stdin the number up to which they may
be.  For ADDRESS see chaos_storages.py.
"""

import logging
import random
import sys
from contextlib import suppress

import chaos_storages
import chaos_tasks
import transaction
from transaction.interfaces import NoTransaction


def add(database, numbers, seed):
    """Add these jobs, unless they have been added: a commit may have been
    done although its connection broke.
    """
    manager = transaction.TransactionManager(explicit=True)
    manager.begin()
    connection = database.open(manager)
    try:
        root = connection.root()
        added = chaos_tasks.ledger(root)['added']
        service = root['Application']['tasks']
        for n in numbers:
            if n not in added:
                input = chaos_tasks.make_input(n, random.Random(f'{seed}{n}'))
                added[n] = service.add(
                    input['kind'], input,
                    priority=1 if n % 7 == 0 else 0,
                    delay=0.5 if n % 23 == 0 else None)
        manager.commit()
    finally:
        with suppress(NoTransaction):
            manager.abort()
        connection.close()


def main():
    seed, added, *address = sys.argv[1:]
    # That the server is away is meant.
    for name in ('ZODB', 'ZEO', 'relstorage', 'txn'):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    chaos_tasks.register()
    database = chaos_storages.opened(address)
    done = int(added)
    rng = random.Random(seed)
    for line in sys.stdin:
        while done < int(line):
            count = min(rng.randint(1, 4), int(line) - done)
            numbers = range(done + 1, done + count + 1)
            try:
                add(database, numbers, seed)
            except Exception as error:
                # A server that ends closes its file, also amid a commit: what
                # has become of that, the next try sees.
                if not chaos_storages.is_away(error):
                    raise
                print(f'conflict {type(error).__name__}', flush=True)
                chaos_tasks.pause(0.05)
                continue
            done += count
            chaos_tasks.pause(0.005)
        print(f'added {done}', flush=True)


if __name__ == '__main__':
    main()
