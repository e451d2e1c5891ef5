"""The room of Zope.  Nothing is imported here: see host.py, service.py."""
