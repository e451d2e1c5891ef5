"""Configuration of Sphinx: ``tox -e docs``."""

import ast
import re
from importlib.metadata import version as version_of
from pathlib import Path

from zope.interface.interface import Method

from lovely.remotetask import interfaces

project = 'lovely.remotetask'
author = 'lovely.remotetask contributors'
copyright = author
release = version_of(project)
version = '.'.join(release.split('.')[:2])

extensions = [
    'sphinx.ext.autodoc',
    'repoze.sphinx.autointerface',
]
exclude_patterns = ['_build']
html_theme = 'alabaster'
html_theme_options = {
    'description': 'A persistent task queue in your ZODB',
    'fixed_sidebar': True,
}
autodoc_member_order = 'bysource'

# zope.interface forgets a method's keyword-only arguments; the source knows
# them, and half of add()'s options are such.
_SIGNATURES = {
    (cls.name, method.name): f'({ast.unparse(method.args)})'
    for cls in ast.parse(Path(interfaces.__file__).read_text()).body
    if isinstance(cls, ast.ClassDef)
    for method in cls.body if isinstance(method, ast.FunctionDef)}


def _signature(method):
    key = (method.interface.__name__, method.__name__)
    return _SIGNATURES.get(key) or _stripped_signature(method)


_stripped_signature = Method.getSignatureString
Method.getSignatureString = _signature


# Interfaces speak in labelled sentences ("Returns: ...").  They are plain
# text for whoever reads the source; here each becomes a paragraph.
_LABEL = re.compile(
    r'(?:^|(?<=  ))(Arguments|Returns|(?:Raises, )?Txn(?:, Cost)?|Raises'
    r'|Cost|Source): ', re.M)


def _label_paragraphs(app, what, name, obj, options, lines):
    lines[:] = _LABEL.sub('\n\n**\\1:** ', '\n'.join(lines)).split('\n')


def setup(app):
    app.connect('autodoc-process-docstring', _label_paragraphs)
