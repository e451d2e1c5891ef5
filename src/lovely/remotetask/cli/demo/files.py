"""Finds the files of the demo, and checks what the jobs made of them."""

import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.cli.failures import reason

# XML and the lines of the manifest carry the names: neither may break.
_UNUSABLE = re.compile('[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]')

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Files:
    """Files below one directory: ``base``, and names relative to it."""

    base: Path
    names: list[str]

    def path(self, name: str) -> Path:
        return self.base / name


@dataclass
class Checked:
    """The state of the copies."""

    good: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    problems: list[str] = field(default_factory=list)


def collect(given: Iterable[Path]) -> Files:
    """The files to work on.

    Arguments: ``given``, files and directories; none: the Python files of
    this package.
    Raises: Failure for a file that cannot be read.
    """
    paths = [found for path in given for found in _files_of(path, '')]
    if not paths:
        if given:
            raise Failure('there are no files in what was given',
                          'name at least one file')
        paths = _files_of(Path(__file__).parents[2], '.py')
    paths = sorted({Path(os.path.abspath(path)) for path in paths})
    for path in paths:
        _check_readable(path)
    base = Path(os.path.commonpath([path.parent for path in paths]))
    return Files(base, [str(path.relative_to(base)) for path in paths])


def write_manifest(place: Path, hashes: Mapping[str, Mapping[str, Any]]
                   ) -> Path:
    """Write hashes in the format of ``sha256sum``.  Returns: the place."""
    with place.open('w', encoding='utf-8') as file:
        for name in sorted(hashes):
            file.write(f'{hashes[name]["sha256"]}  {name}\n')
    return place


def check_copies(files: Files, copies: Path,
                 hashes: Mapping[str, Mapping[str, Any]]) -> Checked:
    """Unpack every copy and compare it with manifest and original."""
    checked = Checked()
    for name in files.names:
        copy = copies / f'{name}.gz'
        try:
            with gzip.open(copy) as file:
                unpacked, size = _digest(file)
            with files.path(name).open('rb') as file:
                original, _ = _digest(file)
        except (OSError, EOFError, zlib.error) as error:
            checked.problems.append(f'{copy} is not usable: {error}')
            continue
        if not unpacked == original == hashes.get(name, {}).get('sha256'):
            checked.problems.append(f'{copy} differs from its original')
            continue
        checked.good += 1
        checked.bytes_in += size
        checked.bytes_out += copy.stat().st_size
    return checked


def _digest(file: Any) -> tuple[str, int]:
    digest = hashlib.sha256()
    size = 0
    while block := file.read(_BLOCK):
        digest.update(block)
        size += len(block)
    return digest.hexdigest(), size


def _files_of(path: Path, suffix: str) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = []
    for folder, _, names in os.walk(path, onerror=_refuse):
        found += [Path(folder, name) for name in names
                  if name.endswith(suffix) and Path(folder, name).is_file()]
    return found


def _refuse(error: OSError) -> None:
    raise Failure(f'cannot read {error.filename}: {reason(error)}',
                  'correct the path, or leave it out') from error


def _check_readable(path: Path) -> None:
    if _UNUSABLE.search(str(path)):
        raise Failure(f'the name {str(path)!a} holds characters that '
                      f'XML-RPC cannot carry', 'rename it, or leave it out')
    try:
        # Reading a pipe would wait for ever for a program to write into it.
        if path.exists() and not path.is_file():
            raise Failure(f'{path} is no regular file', 'leave it out')
        with path.open('rb'):
            pass
    except OSError as error:
        _refuse(error)
