#!/bin/sh
# The steps of the Dockerfile: an environment in DIR that runs WHEEL, with what the base installation needs and no pip.
#     sh scripts/image.sh DIR WHEEL [EXTRAS]         EXTRAS as [serve,media]
# scripts/check_wheel.py runs the same steps, so that they are tested without a container.
set -eu
dir=$1 wheel=$2 extras=${3:-}
here=$(dirname "$0")
"${PYTHON:-python3}" -m venv "$dir"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check -c "$here/../constraints.txt" "$wheel$extras"
"$dir/bin/python" -m pip uninstall --quiet --yes setuptools pip 2>/dev/null ||
  "$dir/bin/python" -m pip uninstall --quiet --yes pip
