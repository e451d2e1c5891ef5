"""``remotetask bench``: measures the cost of jobs beside the raw commits of
the same storage; it may reach into every room, and no room imports it.

::

    command                   the options, and the report of a run
    report                    a report as a table for people
    place                     the database under test, our corner of it
    pace                      rates and CPU, beside those of raw commits
    processing, tasks         workers in threads and processes, their tasks
    sizes                     how many jobs each measure uses
    machine                   the machine that the figures are of
    rates, latency, backlog   the measures: each is a function of a Bench

``benchmarks/`` in the source has more measures, for developers of the engine,
and runs them by the same command.
"""
