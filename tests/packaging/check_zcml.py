"""The extra [zcml] alone: run by ``tox -e zcml``, without pytest.

Test environments have zope.security and other host parts in them; here the
ZCML has to do without.
"""

import importlib.util
import sys

from zope.component import getUtility
from zope.configuration import xmlconfig

from lovely.remotetask.interfaces import ITask

ZCML = """
<configure
    xmlns="http://namespaces.zope.org/zope"
    xmlns:remotetask="http://namespaces.zope.org/remotetask">
  <include package="lovely.remotetask" file="meta.zcml" />
  <include package="lovely.remotetask" />
  <remotetask:task name="shout" handler="check_zcml.shout" />
</configure>
"""


def shout(text: str) -> str:
    return text.upper()


def main() -> int:
    for host in ('zope.security', 'zope.publisher', 'zope.annotation'):
        assert importlib.util.find_spec(host) is None, f'{host} is installed'
    xmlconfig.string(ZCML)
    assert getUtility(ITask, name='echo')(None, 1, 'hello') == 'hello'
    assert getUtility(ITask, name='shout')(None, 1, 'hello') == 'HELLO'
    print('ok      the package configures without any host')
    return 0


if __name__ == '__main__':
    sys.exit(main())
