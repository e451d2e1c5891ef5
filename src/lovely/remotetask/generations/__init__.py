"""Generations of the databases, for zope.generations.

0.5.2 had nothing to evolve, and neither has a new database: both are of
generation 0.  What will change old data comes as ``evolve1`` and so on; no
minimum demands it, so that a database opens before it was evolved.
"""

from zope.generations.generations import SchemaManager

schemaManager = SchemaManager(
    minimum_generation=0, generation=0, package_name=__name__)
