#!/usr/bin/env bash
# Put a real Consul 1.8.7 where our tests and the demo find it: scripts/install-consul.sh [DIR]
#
# DIR is .cache/consul under the checkout unless given. The package comes from Debian 11, through apt's own
# signature check, from whatever mirror this machine already uses; apt works on lists in a temporary folder, so
# nothing installed on the system is touched. The file must have the one sha256 we tested with.
set -euo pipefail

package='consul=1.8.7+dfsg1-2+b3'
sha256='e4e888bba104daba1d9161f49bfc52649a7e4efd45b1a7ead5bc54f2cb9c89d9'
keyring='/usr/share/keyrings/debian-archive-keyring.gpg'

checkout=$(cd "$(dirname "$0")/.." && pwd)
target=${1:-$checkout/.cache/consul}
binary=$target/usr/bin/consul

die() { echo "install-consul: $*" >&2; exit 1; }

if [ -x "$binary" ]; then
  echo "$binary"
  exit 0
fi

[ "$(uname -m)" = x86_64 ] || die "only for x86_64; put a consul binary on PATH instead"
for tool in apt-get dpkg-deb sha256sum; do
  command -v "$tool" >/dev/null || die "$tool is missing; put a consul binary on PATH instead"
done
[ -r "$keyring" ] || die "$keyring is missing: install debian-archive-keyring"

# The mirror for Debian's main archive, as the machine is set up; the security archive has another suite name.
mirror=$(apt-get indextargets --format '$(REPO_URI) $(SUITE) $(CODENAME) $(ORIGIN)' 'Created-By: Packages' |
  awk '$4 == "Debian" && $2 !~ /security|updates|backports/ && $3 !~ /security|updates|backports/ {print $1; exit}')
[ -n "$mirror" ] || die "no Debian mirror in this machine's apt sources (run apt-get update first)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/sources.d "$work"/preferences.d "$work"/state/lists/partial "$work"/cache/archives/partial "$work"/out
: >"$work/state/status"
printf 'deb [arch=amd64 signed-by=%s] %s bullseye main\n' "$keyring" "$mirror" >"$work/sources.list"
chmod -R a+rX "$work"
if [ "$(id -u)" = 0 ] && id _apt >/dev/null 2>&1; then
  chown -R _apt "$work" # apt drops its rights while it downloads
fi

own_apt() {
  apt-get -qq \
    -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts="$work/sources.d" \
    -o Dir::Etc::Preferences="$work/preferences" -o Dir::Etc::PreferencesParts="$work/preferences.d" \
    -o Dir::State="$work/state" -o Dir::State::Lists="$work/state/lists" -o Dir::State::status="$work/state/status" \
    -o Dir::Cache="$work/cache" -o APT::Architecture=amd64 -o APT::Architectures=amd64 \
    -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Get::AllowUnauthenticated=false "$@"
}

own_apt update
(cd "$work/out" && own_apt download "$package")
deb=$(echo "$work"/out/consul_*.deb)
echo "$sha256  $deb" | sha256sum --check --quiet || die "the package is not the one we know"

dpkg-deb --extract "$deb" "$work/root"
"$work/root/usr/bin/consul" version >/dev/null || die "the binary does not run on this machine"
mkdir -p "${binary%/*}"
cp "$work/root/usr/bin/consul" "$binary.new"
mv "$binary.new" "$binary" # whole or not at all
echo "$binary"
