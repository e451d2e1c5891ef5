"""The generations of the data in a database, and the way between them.

Generation 0 is that of 0.5.2, and 1 that of 1.0.  ``remotetask migrate`` goes
the way, and so does zope.generations where an application has it.  The minimum
stays 0, so that a database opens before it was evolved: its operator decides
when.
"""

from contextlib import suppress

with suppress(ImportError):
    from zope.generations.generations import SchemaManager

    schemaManager = SchemaManager(
        minimum_generation=0, generation=1, package_name=__name__)
