"""How the ZTK finds a service, who acts in it, and as whom a job runs.

ZCML loads this room where zope.app is installed and Zope is not.
"""
