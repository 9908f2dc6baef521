#!/usr/bin/env bash
# Measures our broker beside Mosquitto, in one run, and writes docs/performance.md.
# Usage: tests/performance.sh [ROUNDS]     (default 3; every figure is the median of the rounds, taken in turn)
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-3}
run=$(mktemp -d)
pids=()
stop() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || :; done; rm -rf "$run"; }
trap stop EXIT

target=${CARGO_TARGET_DIR:-target}
cargo build --release --quiet --bin postrider
postrider=$target/release/postrider

"$postrider" broker --listen tcp://127.0.0.1:0 > "$run/ours.out" 2>&1 &
ours_pid=$!
pids+=("$ours_pid")
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
theirs_port=$(free_port)
# Its defaults would lose messages and stop at 20 in flight; without limits it is at its fastest.
printf 'listener %s 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\nmax_inflight_messages 0\n' \
    "$theirs_port" > "$run/mosquitto.conf"
mosquitto -c "$run/mosquitto.conf" > "$run/theirs.out" 2>&1 &
theirs_pid=$!
pids+=("$theirs_pid")

wait_for() { # what, command...
    local what=$1
    shift
    for _ in $(seq 200); do "$@" 2>/dev/null && return; read -rt 0.05 < <(:) || :; done
    echo "$what does not answer" >&2
    exit 1
}
is_listening() { (: > "/dev/tcp/127.0.0.1/$theirs_port") 2>/dev/null; }
is_announced() { grep -q 'listening on tcp://' "$run/ours.out"; }
wait_for Mosquitto is_listening
wait_for "our broker" is_announced
ours_url=$(sed -n 's/.*listening on \(tcp:[^ ]*\).*/\1/p' "$run/ours.out" | head -n 1)

measure() { # url, pid, bench arguments... -> "messages_per_s messages_per_broker_cpu_s p99_ms lost"
    local url=$1 pid=$2
    shift 2
    "$postrider" bench "$@" --url "$url" --pid "$pid" > "$run/report" 2> "$run/report.err" || {
        cat "$run/report" "$run/report.err" >&2
        exit 1
    }
    awk -F= '{ v[$1] = $2 } END { print v["messages_per_s"], v["messages_per_broker_cpu_s"], v["latency_p99_ms"] }' \
        "$run/report"
}
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
column() { awk -v n="$2" '{ print $n }' "$1" | median; }

row() { # title, bench arguments...
    local title=$1
    shift
    : > "$run/ours"
    : > "$run/theirs"
    for _ in $(seq "$rounds"); do
        measure "$ours_url" "$ours_pid" "$@" >> "$run/ours"
        measure "mqtt://127.0.0.1:$theirs_port" "$theirs_pid" "$@" >> "$run/theirs"
    done
    local o t oc tc
    o=$(column "$run/ours" 1) t=$(column "$run/theirs" 1) oc=$(column "$run/ours" 2) tc=$(column "$run/theirs" 2)
    awk -v title="$title" -v o="$o" -v t="$t" -v oc="$oc" -v tc="$tc" \
        -v op="$(column "$run/ours" 3)" -v tp="$(column "$run/theirs" 3)" 'BEGIN {
        printf "| %s | %d | %d | %.2f | %d | %d | %.2f | %.1f | %.1f |\n", title, o, t, o / t, oc, tc, oc / tc, op, tp }'
    echo "$title: done" >&2
}

{
    cat <<'TXT'
# Performance

Made by `tests/performance.sh`, which measures our broker and Mosquitto in turn, in one run, on loopback. Load comes from
`postrider bench`, a generator of its own on raw packets, on the same machine: it competes for the cores, so the
messages per second are those of broker and generator together, while the messages per CPU second are the broker's
alone. Every figure is a median; no message was lost, doubled or out of order in any row (the run stops if one is).
Ratios above 1 mean that ours is ahead.

TXT
    echo "Commit $(git rev-parse --short HEAD), $(mosquitto -h | head -n 1), $(nproc) cores, $(rustc --version)."
    echo
    echo "## Broker: 64-byte payloads, MQTT 3.1.1, window 100"
    echo
    echo '| load | ours msg/s | Mosquitto msg/s | ratio | ours msg/CPU s | Mosquitto msg/CPU s | ratio | ours p99 ms | Mosquitto p99 ms |'
    echo '| --- | --- | --- | --- | --- | --- | --- | --- | --- |'
    for load in "0 1000000" "1 400000" "2 300000"; do
        read -r qos messages <<< "$load"
        row "1 pair, QoS $qos" p2p --pairs 1 --qos "$qos" --messages "$messages"
        row "50 pairs, QoS $qos" p2p --pairs 50 --qos "$qos" --messages $((messages / 50))
    done
    for subscribers in 1 10 100; do
        row "fan-out 1 to $subscribers, QoS 0" fan-out --subscribers "$subscribers" --messages $((1000000 / subscribers))
    done
    row "fan-out 1 to 100, QoS 1" fan-out --subscribers 100 --qos 1 --messages 5000
    echo
    echo "## Packets"
    echo
    echo 'From `cargo bench -p postrider-wire --bench codec`: nanoseconds per packet.'
    echo
    echo '```text'
    cargo bench --quiet -p postrider-wire --bench codec 2> /dev/null
    echo '```'
} > "$run/performance.md"
mv "$run/performance.md" docs/performance.md
