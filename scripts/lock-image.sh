#!/usr/bin/env bash
# Write what the image is built from, with exact versions and checksums: docker/*.lock. uv comes with `make check`'s venv.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() { "${UV:-.venv/bin/uv}" pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-annotate \
  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" "$@"; }
compile pyproject.toml --extra elasticsearch --extra otel --output-file docker/requirements.lock
printf 'hatchling>=1.25\n' | compile - --output-file docker/build.lock
