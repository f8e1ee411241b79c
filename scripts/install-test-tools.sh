#!/usr/bin/env bash
# What the tests need besides Python and Consul, each real: see docs/dependencies.md for what it proves. Installs what is
# missing where that is possible (Debian, as root), else says what it is.
set -euo pipefail
PATH="$PATH:/usr/sbin"

need=()
for pair in strace:strace openssl:openssl prometheus:prometheus prometheus-alertmanager:prometheus-alertmanager sshd:openssh-server ssh-keygen:openssh-client \
  systemd-nspawn:systemd-container; do
  command -v "${pair%%:*}" >/dev/null || need+=("${pair##*:}")
done
[ -n "${CONSULGUARD_HELM:-}" ] || command -v npm >/dev/null || need+=(npm)
[ -x /lib/systemd/systemd ] || need+=(systemd)
compgen -G '/usr/lib/*/rsyslog/omelasticsearch.so' >/dev/null || need+=(rsyslog rsyslog-elasticsearch)
[ -e /usr/share/java/zookeeper.jar ] || need+=(zookeeper)
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null || need+=(postgresql)
command -v java >/dev/null || need+=(default-jre-headless)
compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || need+=(libfaketime)

if [ ${#need[@]} -gt 0 ]; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "install-test-tools: missing: ${need[*]}; install them with your package manager" >&2
    exit 1
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "${need[@]}"
fi

[ -n "${CONSULGUARD_HELM:-}" ] || bash "$(dirname "$0")/install-helm.sh"
[ -n "${CONSULGUARD_KUBE_APISERVER:-}" ] || bash "$(dirname "$0")/install-kube-apiserver.sh"
[ -n "${CONSULGUARD_EMULATE:-}" ] || bash "$(dirname "$0")/install-emulate.sh"
