#!/bin/sh
# Writes Data.fs.gz anew: with lovely.remotetask 0.5.2 on Python 2.7, then
# converted by zodbupdate on Python 3.  Nobody needs to, unless a test wants
# something that is not in it.
#
#     PYTHON2=python2.7 PYTHON3=python3 tests/upstream/migration/make.sh
#
# Python 2.7 needs a pip (20.3 is its last) and virtualenv (20.15 or older).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"${PYTHON2:-python2.7}" -m virtualenv -q "$work/two"
"$work/two/bin/pip" install -q -r "$here/requirements-2.7.txt"
# With what the database holds classes of: zodbupdate breaks what it cannot
# import.
"${PYTHON3:-python3}" -m venv "$work/three"
"$work/three/bin/pip" install -q "$here/../../..[migrate]" zope.site
# Without its dependencies: most of them are pages, and some are gone.
"$work/three/bin/pip" download -q --no-deps --no-binary :all: \
    -d "$work" lovely.remotetask==0.5.2
"$work/two/bin/pip" install -q --no-deps "$work"/lovely.remotetask-0.5.2.tar.gz

TZ=UTC PYTHONPATH="$here" PYTHONDONTWRITEBYTECODE=1 \
    "$work/two/bin/python" "$here/make_database.py" "$work/Data.fs"
rm -f "$work/Data.fs.index"
PYTHONPATH="$here" PYTHONDONTWRITEBYTECODE=1 \
    "$work/three/bin/zodbupdate" -q --pack --convert-py3 --encoding utf-8 \
    --file "$work/Data.fs"
gzip -9nc "$work/Data.fs" > "$here/Data.fs.gz"
