"""The room of Plone, upon Zope's (``five``): see setup.py, configure.zcml.

A Plone site is a site of Zope's, and its service one of Zope's: host, worker
and XML-RPC are all in ``five``.  What is here is how an administrator gets a
service into a site, and rid of it.
"""
