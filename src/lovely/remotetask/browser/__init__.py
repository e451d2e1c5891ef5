"""The ZTK: its host, class security, and XML-RPC as a view.

Loaded by ZCML where zope.app is and Zope is not.  Pages have their place
here, too.
"""
