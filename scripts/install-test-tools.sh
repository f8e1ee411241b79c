#!/usr/bin/env bash
# What the tests need besides Python and Consul: strace, with which they see that the journal syncs at every commit,
# and a Prometheus. Installs them where that is possible (Debian, as root), else says what is missing.
set -euo pipefail

need=()
for tool in strace prometheus; do
  command -v "$tool" >/dev/null || need+=("$tool")
done
[ ${#need[@]} -gt 0 ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "${need[@]}"
else
  echo "install-test-tools: missing: ${need[*]}; install with your package manager (Debian: apt-get install ${need[*]})" >&2
  exit 1
fi
