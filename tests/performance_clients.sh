#!/usr/bin/env bash
# Measures client crates beside ours against Mosquitto, then our broker, and writes docs/performance-clients.md.
# Usage: tests/performance_clients.sh [ROUNDS] [SCALE]
#   ROUNDS  default 5; every figure is the median of the rounds, taken in turn
#   SCALE   default 1; a tenth is enough to see that it runs
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/brokers/process.sh
rounds=${1:-5}
scale=${2:-1}
target=${CARGO_TARGET_DIR:-target}
clients=(rumqttc paho postrider_async postrider_blocking)
run=$(mktemp -d)
dirs=()
stop() { for dir in "${dirs[@]}"; do process_stop "$dir"; done; rm -rf "$run"; }
trap stop EXIT
# A thousand sessions, at both ends.
ulimit -n 8192

cargo build --release --quiet --bin postrider
manifest=tests/client_bench/Cargo.toml
cargo build --release --quiet --locked --manifest-path "$manifest" --target-dir "$target/client-bench"
cargo build --release --quiet --locked --manifest-path "$manifest" --target-dir "$target/client-bench-count" --features allocations
timed=$target/client-bench/release
counting=$target/client-bench-count/release

start() { # NAME READY
  local dir line
  dir=$(mktemp -d "$run/XXXXXX")
  line=$(process_start "$dir" '' "$2")
  dirs+=("$dir")
  port[$1]=$(sed 's/port=\([0-9]*\) .*/\1/' <<< "$line")
}
declare -A port
command_at() {
  printf 'listener %s 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\nset_tcp_nodelay true\n' \
    "$1" > "$run/mosquitto.conf"
  COMMAND=("$(PATH=$PATH:/usr/sbin command -v mosquitto)" -c "$run/mosquitto.conf")
}
start mosquitto ' running$'
command_at() { COMMAND=("$target/release/postrider" broker --listen "tcp://127.0.0.1:$1"); }
start postrider 'listening on'

# Runs a program; its figures are added to files named by client and figure.
publish() { # FOLDER CLIENT BROKER QOS WINDOW SIZE MESSAGES
  timeout 120 "$1/$2" publish "${port[$3]}" "${@:4}" 2> "$run/report" || { cat "$run/report" >&2; exit 1; }
  keep "$2"
}
receive() { # FOLDER CLIENT BROKER QOS WINDOW SIZE MESSAGES
  timeout 120 "$1/$2" receive "${port[$3]}" "${@:4}" 2> "$run/report" |
    timeout 120 "$timed/feed" receive "${port[$3]}" "${@:4}" || { cat "$run/report" >&2; exit 1; }
  keep "$2"
}
keep() { sed 's/\(.*\)=\(.*\)/\1 \2/' "$run/report" | while read -r name value; do echo "$value" >> "$run/of-$1-$name"; done; }
median() { sort -n "$run/of-$1-$2" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
short() { awk -v n="$1" 'BEGIN { if (n >= 1e6) printf "%.2f M", n / 1e6; else if (n >= 1e3) printf "%.0f k", n / 1e3; else printf "%.0f", n }'; }

row() { # DIRECTION BROKER QOS WINDOW SIZE MESSAGES
  local direction=$1 broker=$2 qos=$3 window=$4 size=$5 messages client cells='' best=0 theirs cpu
  messages=$(awk -v m="$6" -v s="$scale" 'BEGIN { printf "%d", m * s < 20 ? 20 : m * s }')
  rm -f "$run"/of-*
  for _ in $(seq "$rounds"); do
    for client in "${clients[@]}"; do
      "$direction" "$timed" "$client" "$broker" "$qos" "$window" "$size" "$messages"
    done
  done
  for client in "${clients[@]}"; do
    [ "$client" = paho ] || "$direction" "$counting" "$client" "$broker" "$qos" "$window" "$size" "$messages"
    best=$(printf '%s\n%s\n' "$best" "$(median "$client" messages_per_cpu_s)" | sort -n | tail -n 1)
  done
  theirs=$(median rumqttc messages_per_cpu_s)
  for client in "${clients[@]}"; do
    cpu=$(median "$client" messages_per_cpu_s)
    cells+=" $(short "$(median "$client" messages_per_s)"); $(short "$cpu")"
    case $client in
      postrider*) cells+=" (**$(awk -v a="$cpu" -v b="$theirs" -v c="$best" 'BEGIN { printf "%.2f**, %.2f", a / b, a / c }'))" ;;
    esac
    [ "$client" = paho ] || cells+="; $(median "$client" allocations_per_message)"
    [ "$direction$qos" = publish0 ] || [ "$direction" = receive ] ||
      cells+="; $(median "$client" p50_us) / $(median "$client" p99_us)"
    cells+=' |'
  done
  local title="QoS $qos"
  [ "$direction" = receive ] || [ "$qos" = 0 ] || title+=", window $window"
  echo "| $title, $size B |$cells"
  echo "$broker: $direction, $title, $size B: done" >&2
}

table() { # BROKER DIRECTION
  echo "| $2 | rumqttc | paho-mqtt | Postrider, async | Postrider, blocking |"
  echo '| --- | --- | --- | --- | --- |'
}

{
  cat <<'TXT'
# Performance of the client

Made by `tests/performance_clients.sh`, in one run on one machine: a release program per client (`tests/client_bench`), MQTT
3.1.1, one connection, against Mosquitto and against our broker, which share the cores with it. Medians of interleaved
rounds. Receivers are fed by the same program, which they pace. paho-mqtt is the crate around Paho's C library.

Each cell: messages per second; messages per second of the client's CPU time (in ours: **share of rumqttc's**, share of the
best of the row); allocations per message (not counted for paho-mqtt, whose library is in C); at QoS 1 and 2 published: time to
the acknowledgement, p50 / p99 in microseconds.

TXT
  echo "Commit $(git rev-parse --short HEAD), $(PATH=$PATH:/usr/sbin mosquitto -h | head -n 1), rumqttc 0.25.1," \
    "paho-mqtt 0.14.0, $(nproc) cores, $(rustc --version), $rounds rounds."
  for broker in mosquitto postrider; do
    echo
    echo "## Against ${broker/postrider/our broker}"
    echo
    table "$broker" publishing
    for size in 64 16384; do
      many=$((size == 64 ? 10 : 1))
      row publish "$broker" 0 1 "$size" $((many * 30000))
      for qos in 1 2; do
        row publish "$broker" "$qos" 1 "$size" 3000
        row publish "$broker" "$qos" 100 "$size" $((many * 6000))
      done
    done
    echo
    table "$broker" receiving
    for size in 64 16384; do
      many=$((size == 64 ? 10 : 1))
      for qos in 0 1 2; do
        row receive "$broker" "$qos" 100 "$size" $((many * 10000))
      done
    done
  done
  echo
  echo '## Idle sessions'
  echo
  echo 'Resident memory that they add to their process, KiB.'
  echo
  echo '| sessions | rumqttc | paho-mqtt | Postrider, async | Postrider, blocking |'
  echo '| --- | --- | --- | --- | --- |'
  for sessions in 1 1000; do
    rm -f "$run"/of-*
    line="| $sessions |"
    for _ in $(seq "$rounds"); do
      for client in "${clients[@]}"; do
        timeout 300 "$timed/$client" idle "${port[postrider]}" "$sessions" 2> "$run/report" || { cat "$run/report" >&2; exit 1; }
        keep "$client"
      done
    done
    for client in "${clients[@]}"; do line+=" $(median "$client" kib) |"; done
    echo "$line"
    echo "idle, $sessions: done" >&2
  done
} > "$run/report.md"
mv "$run/report.md" docs/performance-clients.md
