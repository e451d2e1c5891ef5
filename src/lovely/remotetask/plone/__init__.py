"""How a Plone site gets a service, and how it gets rid of it.

A Plone site is a site of Zope, and its service is a service of Zope: host,
worker and XML-RPC are all in ``zope``.  See setup.py and configure.zcml.
"""
