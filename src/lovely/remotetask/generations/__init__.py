"""The generations of the data in a database, for zope.generations.

Databases of 0.5.2 and new ones are of generation 0.  A step that changes old
data will be called ``evolve1`` and so on; the minimum stays 0, so that a
database opens before it was evolved.
"""

from zope.generations.generations import SchemaManager

schemaManager = SchemaManager(
    minimum_generation=0, generation=0, package_name=__name__)
