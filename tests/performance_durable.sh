#!/usr/bin/env bash
# Measures our broker with a store, in each mode, beside Mosquitto with persistence, and writes docs/performance-durable.md.
# Usage: tests/performance_durable.sh [ROUNDS] [FOLDER]
#   ROUNDS  default 3; every figure is the median of the rounds, taken in turn
#   FOLDER  where the stores lie: on the disk to measure (default: a new one below target)
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/brokers/process.sh
rounds=${1:-3}
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
run=$(mktemp -d "${2:-$target}/durable-XXXXXX")
dirs=()
stop() { for dir in "${dirs[@]}"; do process_stop "$dir"; done; rm -rf "$run"; }
trap stop EXIT

cargo build --release --quiet --bin postrider
postrider=$target/release/postrider

declare -A url pid
start() { # NAME READY
  local name=$1 dir line
  dir=$(mktemp -d "$run/XXXXXX")
  line=$(process_start "$dir" '' "$2")
  dirs+=("$dir")
  url[$name]=mqtt://127.0.0.1:$(sed 's/port=\([0-9]*\) .*/\1/' <<< "$line")
  pid[$name]=$(sed 's/.* pid=\([0-9]*\) .*/\1/' <<< "$line")
}
command_at() { COMMAND=("$postrider" broker --listen "tcp://127.0.0.1:$1"); }
start none 'listening on'
for mode in memory process durable; do
  command_at() { COMMAND=("$postrider" broker --listen "tcp://127.0.0.1:$1" --store "$run/$mode" --mode "$mode"); }
  start "$mode" 'listening on'
done
# Its strongest settings. Without the limits it would lose messages and stop at 20 in flight.
mkdir "$run/theirs"
command_at() {
  cat > "$run/mosquitto.conf" <<TXT
listener $1 127.0.0.1
allow_anonymous true
persistence true
persistence_location $run/theirs/
autosave_interval 1
autosave_on_changes true
max_queued_messages 0
max_inflight_messages 0
TXT
  [ "$(id -u)" -ne 0 ] || echo "user root" >> "$run/mosquitto.conf"
  COMMAND=("$(PATH=$PATH:/usr/sbin command -v mosquitto)" -c "$run/mosquitto.conf")
}
start mosquitto ' running$'

measure() { # NAME BENCH-ARGUMENTS... -> "messages_per_s p50_ms p99_ms"
  local name=$1
  shift
  "$postrider" bench p2p "$@" --persistent --patience 60 --url "${url[$name]}" --pid "${pid[$name]}" \
    > "$run/report" 2> "$run/report.err" || { cat "$run/report" "$run/report.err" >&2; exit 1; }
  awk -F= '{ v[$1] = $2 } END { print v["messages_per_s"], v["latency_p50_ms"], v["latency_p99_ms"] }' "$run/report"
}
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
column() { awk -v n="$2" '{ print $n }' "$1" | median; }

# 4 KiB written and synced again and again: what the disk can do at most, one message at a time.
sync_rate() {
  local before after
  before=$(date +%s%N)
  dd if=/dev/zero of="$run/synced" bs=4k count=2000 oflag=dsync status=none
  after=$(date +%s%N)
  rm "$run/synced"
  echo $((2000 * 1000000000 / (after - before)))
}

row() { # TITLE MESSAGES MOSQUITTO-MESSAGES BENCH-ARGUMENTS...
  local title=$1 messages=$2 theirs=$3 name cells='' m
  shift 3
  rm -f "$run"/of-*
  for _ in $(seq "$rounds"); do
    for name in none memory process durable; do
      measure "$name" --messages "$messages" "$@" >> "$run/of-$name"
    done
    measure mosquitto --messages "$theirs" "$@" >> "$run/of-mosquitto"
    sync_rate >> "$run/of-disk"
  done
  m=$(column "$run/of-none" 1)
  for name in none memory process durable mosquitto; do
    cells+=$(awk -v r="$(column "$run/of-$name" 1)" -v m="$m" -v p50="$(column "$run/of-$name" 2)" \
      -v p99="$(column "$run/of-$name" 3)" 'BEGIN { printf " %d (%.2f; %.1f / %.1f) |", r, r / m, p50, p99 }')
  done
  echo "| $title |$cells $(column "$run/of-disk" 1) |"
  echo "$title: done" >&2
}

{
  cat <<'TXT'
# Performance with a store

Made by `tests/performance_durable.sh`, in one run on one machine. Load comes from `postrider bench p2p --persistent`, which
shares the cores: pairs of one publisher and one subscriber, all with sessions that outlive their connections, MQTT 3.1.1,
window 100. Each cell: messages per second from end to end (its share of our broker without a store; latency p50 / p99 in
ms), medians. No message was lost, doubled or out of order in any row. Mosquitto saves on every change and every second,
without a sync.

TXT
  echo "Commit $(git rev-parse --short HEAD), $(PATH=$PATH:/usr/sbin mosquitto -h | head -n 1), $(nproc) cores," \
    "$(rustc --version), $(stat -f -c %T "$run")."
  echo
  echo '| load | no store | `memory` | `process` | `durable` | Mosquitto | disk: syncs of 4 KiB/s |'
  echo '| --- | --- | --- | --- | --- | --- | --- |'
  for qos in 1 2; do
    for size in 64 1024; do
      row "1 publisher, QoS $qos, $size B" 100000 2000 --pairs 1 --qos "$qos" --size "$size"
      row "100 publishers, QoS $qos, $size B" 3000 20 --pairs 100 --qos "$qos" --size "$size"
    done
  done
} > "$run/report.md"
mv "$run/report.md" docs/performance-durable.md
