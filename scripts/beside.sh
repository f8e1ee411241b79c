#!/usr/bin/env bash
# beside.sh LOG COMMAND... -- COMMAND...: the first runs beside the second, gives way to it, and writes into LOG. When the
# second has passed, the first is waited for, shown, and has to pass as well; when it has not, the first is ended.
set -euo pipefail
log=$1
shift
beside=()
while [ "$1" != -- ]; do
  beside+=("$1")
  shift
done
shift

mkdir -p "$(dirname "$log")"
# In a process group of its own (setsid): told to end, it ends what it has started, and nobody else may do that before it. A
# minute is enough. Where Linux shares the CPU among such groups (sched_autogroup), the group has to be nice, too.
setsid bash -c 'echo 10 2>/dev/null >/proc/self/autogroup || true; exec "$@"' - \
  timeout --foreground --kill-after=60 30m nice -n 10 "${beside[@]}" >"$log" 2>&1 &
pid=$!
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" || true' EXIT
"$@"
code=0
wait "$pid" || code=$?
cat "$log"
exit "$code"
