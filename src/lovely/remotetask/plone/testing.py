"""Layers for the tests of add-ons: a Plone site with the service ``tasks``.

They need plone.app.testing, which the tests of add-ons have; nothing else of
this package imports them.
"""

from __future__ import annotations

from typing import Any

from plone.app.testing import PLONE_FIXTURE
from plone.app.testing import FunctionalTesting
from plone.app.testing import IntegrationTesting
from plone.app.testing import PloneSandboxLayer
from plone.app.testing import applyProfile

import lovely.remotetask


class RemoteTaskLayer(PloneSandboxLayer):
    """A Plone site in which the add-on *Remote tasks* is installed."""

    defaultBases = (PLONE_FIXTURE,)

    def setUpZope(self, app: Any, configurationContext: Any) -> None:
        """See PloneSandboxLayer"""
        self.loadZCML(package=lovely.remotetask)

    def setUpPloneSite(self, portal: Any) -> None:
        """See PloneSandboxLayer"""
        applyProfile(portal, 'lovely.remotetask:default')


#: The base for layers of your own.
REMOTETASK_FIXTURE = RemoteTaskLayer()

#: Each test is one transaction, which is aborted: run jobs by ``run_job`` or
#: ``service.process()``.
REMOTETASK_INTEGRATION_TESTING = IntegrationTesting(
    bases=(REMOTETASK_FIXTURE,), name='RemoteTaskLayer:IntegrationTesting')

#: Tests may commit: ``drain`` and ``inline`` run jobs as a worker does.
REMOTETASK_FUNCTIONAL_TESTING = FunctionalTesting(
    bases=(REMOTETASK_FIXTURE,), name='RemoteTaskLayer:FunctionalTesting')
