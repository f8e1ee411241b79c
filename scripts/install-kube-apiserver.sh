#!/usr/bin/env bash
# Put a real kube-apiserver and the etcd it needs where our tests find them: scripts/install-kube-apiserver.sh [DIR]
#
# DIR is ${XDG_CACHE_HOME:-~/.cache}/consulguard/kube-apiserver unless given: outside the checkout, so that it is
# built once. Debian ships the source of Kubernetes 1.20.2 with every library inside, so this is apt's own signature
# check, Debian's own Go, and nothing from a Go proxy. It takes some minutes the first time; the build tree
# goes away at the end. apt works on lists in a temporary folder; only missing build tools are installed on the
# system. etcd is unpacked, not installed: its package would start a service.
set -euo pipefail

release='v1.20.2'
keyring='/usr/share/keyrings/debian-archive-keyring.gpg'

target=${1:-${XDG_CACHE_HOME:-$(echo ~)/.cache}/consulguard/kube-apiserver}

die() { echo "install-kube-apiserver: $*" >&2; exit 1; }

complete() { [ -x "$target/kube-apiserver" ] && [ -x "$target/etcd" ]; }

if complete; then
  echo "$target"
  exit 0
fi

command -v apt-get >/dev/null || die "apt-get is missing; point CONSULGUARD_KUBE_APISERVER to a kube-apiserver instead"
[ -r "$keyring" ] || die "$keyring is missing: install debian-archive-keyring"

mkdir -p "$target"
exec 9>"$target/.lock"
flock 9 # two at once would both build
if complete; then
  echo "$target"
  exit 0
fi

need=()
if [ ! -x "$target/kube-apiserver" ]; then
  for pair in go:golang-go dpkg-source:dpkg-dev rsync:rsync jq:jq make:make; do
    command -v "${pair%%:*}" >/dev/null || need+=("${pair##*:}")
  done
fi
if [ ${#need[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || die "missing: ${need[*]} (apt-get install)"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 \
    "${need[@]}" >/dev/null
fi

# The mirror for Debian's main archive, as the machine is set up; the security archive has another suite name.
mirror=$(apt-get indextargets --format '$(REPO_URI) $(SUITE) $(CODENAME) $(ORIGIN)' 'Created-By: Packages' |
  awk '$4 == "Debian" && $2 !~ /security|updates|backports/ && $3 !~ /security|updates|backports/ {print $1; exit}')
[ -n "$mirror" ] || die "no Debian mirror in this machine's apt sources (run apt-get update first)"

work=$(mktemp -d "$target/build.XXXXXX")
log=$work/log
# Whatever fails ends the script; what was said last is shown. Go writes its folders read-only.
trap 'rc=$?; [ $rc = 0 ] || tail -n 20 "$log" >&2; chmod -R u+w "$work"; rm -rf "$work"; exit $rc' EXIT
mkdir -p "$work"/sources.d "$work"/state/lists/partial "$work"/cache/archives/partial "$work"/source "$work"/etcd
: >"$work/state/status"
for kind in deb deb-src; do
  printf '%s [signed-by=%s] %s bookworm main\n' "$kind" "$keyring" "$mirror"
done >"$work/sources.list"

own_apt() {
  apt-get -qq \
    -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts="$work/sources.d" \
    -o Dir::State="$work/state" -o Dir::State::Lists="$work/state/lists" -o Dir::State::status="$work/state/status" \
    -o Dir::Cache="$work/cache" -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Sandbox::User=root \
    -o APT::Get::AllowUnauthenticated=false "$@"
}

etcd() {
  cd "$work/etcd"
  own_apt download etcd-server
  dpkg-deb --extract etcd-server_*.deb .
  usr/bin/etcd --version
  cp usr/bin/etcd "$target/etcd.new"
  mv "$target/etcd.new" "$target/etcd" # whole or not at all
}

apiserver() {
  cd "$work/source"
  own_apt source kubernetes
  cd kubernetes-*/
  export PATH="/usr/bin:$PATH" HOME="$work" GOPATH="$work/go" GOCACHE="$work/go-cache"
  export GOPROXY=off GOFLAGS=-mod=vendor CGO_ENABLED=0
  export KUBE_GIT_VERSION=$release KUBE_GIT_MAJOR=1 KUBE_GIT_MINOR=20 KUBE_GIT_COMMIT=debian KUBE_GIT_TREE_STATE=clean
  make kube-apiserver GOLDFLAGS='-s -w'
  built=$(find _output -type f -name kube-apiserver -perm -u+x | head -n 1)
  "$built" --version | grep -x "Kubernetes $release" # it runs on this machine
  cp "$built" "$target/kube-apiserver.new"
  mv "$target/kube-apiserver.new" "$target/kube-apiserver"
}

own_apt update >"$log" 2>&1
[ -x "$target/etcd" ] || (etcd) >>"$log" 2>&1
[ -x "$target/kube-apiserver" ] || (apiserver) >>"$log" 2>&1
echo "$target"
