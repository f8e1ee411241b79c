#!/usr/bin/env bash
# What the tests need besides Python and Consul: strace, with which they see that the journal syncs at every commit.
# Installs it where that is possible (Debian, as root), else says what is missing.
set -euo pipefail

command -v strace >/dev/null && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 strace
else
  echo "install-test-tools: strace is missing; install it with your package manager (Debian: apt-get install strace)" >&2
  exit 1
fi
