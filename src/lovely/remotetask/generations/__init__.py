"""The generations of the data in a database, for zope.generations.

Generation 0 is that of 0.5.2, and 1 that of 1.0.  The minimum stays 0, so
that a database opens before it was evolved: its operator decides when.
"""

from zope.generations.generations import SchemaManager

schemaManager = SchemaManager(
    minimum_generation=0, generation=1, package_name=__name__)
