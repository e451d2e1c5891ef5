"""``remotetask bench``: what the queue costs, against its own storage.

::

    command     options, the order of things
    place       the database under test, and our corner of it
    pace        rates beside the raw storage's, and other arithmetic
    processing  workers: loops in this process, and processes
    rates, life, latency, backlog, conflicts, idle, listing
                the measures; each is a function of a Bench
    targets     what has to be reached, and the table
    tasks       the tasks that the jobs run
    peers       workers and producers that count their conflicts
"""
