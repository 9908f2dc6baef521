#!/usr/bin/env bash
# Measures client crates beside ours against Mosquitto, then our broker, and writes docs/performance-clients.md.
# Usage: tests/performance_clients.sh [ROUNDS] [SCALE]
#   ROUNDS  default 5; every figure is the median of the rounds, taken in turn
#   SCALE   default 1, of the numbers of messages; 3 rounds of 0.3 take some minutes, besides building
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
# The programs twice, with one build of what they depend on.
built=$target/client-bench
for kind in count time; do
  features=()
  [ "$kind" = time ] || features=(--features allocations)
  cargo build --release --quiet --locked --manifest-path tests/client_bench/Cargo.toml --target-dir "$built" "${features[@]}"
  mkdir -p "$run/$kind"
  for program in feed "${clients[@]}"; do cp "$built/release/$program" "$run/$kind/"; done
done
timed=$run/time
counting=$run/count

# A client that happens to be on the core of its broker is two or three times as fast with a window of 1, and the system
# decides that anew in each round. So the client has the last core for itself, and all else has the others.
cores=$(nproc)
others=0-$((cores > 1 ? cores - 2 : 0))
here=(taskset -c $((cores - 1)))

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
  COMMAND=(taskset -c "$others" "$(PATH=$PATH:/usr/sbin command -v mosquitto)" -c "$run/mosquitto.conf")
}
start mosquitto ' running$'
command_at() { COMMAND=(taskset -c "$others" "$target/release/postrider" broker --listen "tcp://127.0.0.1:$1"); }
start postrider 'listening on'

# Runs a program; its figures are added to files named by client and figure. One that fails, or hangs, has none.
RUN_SECONDS_MAX=60
publish() { # FOLDER CLIENT BROKER QOS WINDOW SIZE MESSAGES
  timeout "$RUN_SECONDS_MAX" "${here[@]}" "$1/$2" publish "${port[$3]}" "${@:4}" 2> "$run/report" || { complain "$@"; return; }
  keep "$2"
}
receive() { # FOLDER CLIENT BROKER QOS WINDOW SIZE MESSAGES
  timeout "$RUN_SECONDS_MAX" "${here[@]}" "$1/$2" receive "${port[$3]}" "${@:4}" 2> "$run/report" |
    timeout "$RUN_SECONDS_MAX" taskset -c "$others" "$timed/feed" receive "${port[$3]}" "${@:4}" || { complain "$@"; return; }
  keep "$2"
}
complain() { # FOLDER CLIENT ARGUMENT...
  echo "${*:2}: failed, or took longer than $RUN_SECONDS_MAX s" >&2
  cat "$run/report" >&2
}
keep() { # CLIENT
  sed 's/\(.*\)=\(.*\)/\1 \2/' "$run/report" | while read -r name value; do echo "$value" >> "$run/of-$1-$name"; done
}
# Of a client's figure; empty if there is none.
median() { # CLIENT FIGURE
  [ -s "$run/of-$1-$2" ] && sort -n "$run/of-$1-$2" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }' || true
}
short() { # NUMBER
  [ -z "$1" ] && echo failed && return
  awk -v n="$1" 'BEGIN { if (n >= 1e6) printf "%.2f M", n / 1e6; else if (n >= 1e3) printf "%.0f k", n / 1e3; else printf "%.0f", n }'
}
ratio() { # A B
  [ -n "$1" ] && [ -n "$2" ] && [ "$2" != 0 ] || { echo -; return; }
  awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'
}

# Why our clients may be behind, as far as it is known. Instructions were counted by callgrind, ours and rumqttc's, with 64
# bytes and Mosquitto; system calls by strace.
cause() { # CLIENT DIRECTION QOS WINDOW
  case $1:$2:$3:$4 in
    postrider_async:publish:[12]:1)
      echo "the same system calls (one write, one wait, one read), but 15,800 instructions for each message to its 11,400:" \
        "the session keeps more of it, and it goes through the driver's mailbox" ;;
    postrider_*:publish:0:*)
      echo "the kernel's time, which is the same: of 4 us for each message of 16 KiB 0.4 are spent outside of it, and 1.3 of" \
        "rumqttc's (by perf stat); what runs ahead of the pace that BBR sets costs a timer each time, 5,900 for 60,000" \
        "messages to its 1,900. With TCP cubic the ratio was 1.4" ;;
    postrider_*:publish:[12]:100)
      echo "less than half of its system calls with Mosquitto (counted by perf, see docs/decisions/008); the rest is time in" \
        "the kernel, which changes from run to run" ;;
    postrider_async:receive:0:*)
      echo "2,100 instructions for each message to its 1,900, and 7,200 to its 6,200 if each comes alone: messages go through" \
        "the queue of a stream; rumqttc's program takes them from the event loop itself" ;;
    postrider_async:receive:1:*)
      echo "more wake-ups (counted by perf on a busy machine: 0.65 for each message of 64 bytes to its 0.52): it has read all" \
        "and waits again sooner; one costs the same, 7,400 instructions to its 7,300. With 16 KiB 0.4 looks for events for" \
        "each message to its 0.02, since the program runs after each full read, and 0.4 reads to its 1.9 (by strace)" ;;
    postrider_async:receive:2:*) echo "no more than rounds differ by" ;;
    postrider_blocking:publish:[12]:1)
      echo "the same system calls (by perf), but one thread more, which looks every millisecond whether the program's still" \
        "drives (0.06 futex for each message), and the session keeps more of a message" ;;
    postrider_blocking:receive:*)
      echo "more wake-ups for the same messages, since it waits again sooner (by perf, with 64 bytes at QoS 0 0.3 to 0.5 for" \
        "each message to its 0.4, from run to run); one costs the same, 12 to 13 us of CPU time" ;;
    *) echo "not known" ;;
  esac
}

# Measures one cell; adds it to the two tables of its direction, and to the list of ratios below 1.
cell() { # DIRECTION BROKER QOS WINDOW SIZE MESSAGES
  local direction=$1 broker=$2 qos=$3 window=$4 size=$5 messages client best=0 cpu theirs to_theirs to_best
  messages=$(awk -v m="$6" -v s="$scale" 'BEGIN { printf "%d", m * s < 20 ? 20 : m * s }')
  rm -f "$run"/of-*
  for _ in $(seq "$rounds"); do
    for client in "${clients[@]}"; do
      "$direction" "$timed" "$client" "$broker" "$qos" "$window" "$size" "$messages"
    done
  done
  for client in "${clients[@]}"; do
    [ "$client" = paho ] || "$direction" "$counting" "$client" "$broker" "$qos" "$window" "$size" "$messages"
  done
  for client in rumqttc paho; do
    best=$(printf '%s\n' "$best" "$(median "$client" messages_per_cpu_s)" | sort -n | tail -n 1)
  done
  theirs=$(median rumqttc messages_per_cpu_s)
  local title="QoS $qos, $size B" ratios='' cpus='' rest=''
  [ "$direction" = receive ] || [ "$qos" = 0 ] || title="QoS $qos, window $window, $size B"
  for client in "${clients[@]}"; do
    cpu=$(median "$client" messages_per_cpu_s)
    cpus+=" $(short "$cpu") |"
    rest+=" $(short "$(median "$client" messages_per_s)")"
    [ "$client" = paho ] || rest+="; $(median "$client" allocations_per_message)"
    [ "$direction" = receive ] || [ "$qos" = 0 ] || rest+="; $(median "$client" p50_us) / $(median "$client" p99_us)"
    rest+=' |'
    case $client in postrider*) ;; *) continue ;; esac
    to_theirs=$(ratio "$cpu" "$theirs") to_best=$(ratio "$cpu" "$best")
    ratios+=" $to_theirs | $to_best |"
    awk -v a="$to_theirs" -v b="$to_best" 'BEGIN { exit !(a < 1 || b < 1) }' || continue
    echo "- ${broker/postrider/our broker}, $direction, $title, ${client#postrider_}: $to_theirs, $to_best:" \
      "$(cause "$client" "$direction" "$qos" "$window")." >> "$run/below"
  done
  echo "| $title |$cpus$ratios" >> "$run/table"
  echo "| $title |$rest" >> "$run/rest"
  echo "$broker: $direction, $title: done after $SECONDS s" >&2
}

# Prints the two tables of one direction.
tables() { # DIRECTION
  echo
  echo "| $1 | rumqttc | paho-mqtt | async | blocking | async to rumqttc | ... to the best | blocking to rumqttc | ... to the best |"
  echo '| --- | --- | --- | --- | --- | --- | --- | --- | --- |'
  cat "$run/table"
  echo
  echo "| $1 | rumqttc | paho-mqtt | async | blocking |"
  echo '| --- | --- | --- | --- | --- |'
  cat "$run/rest"
  rm "$run/table" "$run/rest"
}

{
  cat <<'TXT'
# Performance of the client

Made by `tests/performance_clients.sh`, in one run on one machine: a release program per client (`tests/client_bench`), MQTT
3.1.1, one connection, against Mosquitto and against our broker. The client has one core, the broker the others. Medians of
interleaved rounds. Receivers are fed by the same program, which they pace. paho-mqtt is the crate around Paho's C library.
The async programs, rumqttc's and ours, are tasks of one thread; a blocking program that waits for each message waits on its
own thread, also for the oldest receipt of a window and for the next message of an iterator.

Two tables for each direction. The first one: messages per second of the client's CPU time, and what share ours are of
rumqttc's and of the better one of rumqttc and paho-mqtt. The second one: messages per second; allocations per message
(not counted for paho-mqtt, whose library is in C); at QoS 1 and 2 published, the time to the acknowledgement, p50 / p99 in
microseconds.

TXT
  echo "Commit $(git rev-parse --short HEAD), $(PATH=$PATH:/usr/sbin mosquitto -h | head -n 1), rumqttc 0.25.1," \
    "paho-mqtt 0.14.0, $(nproc) cores, TCP $(sysctl -n net.ipv4.tcp_congestion_control), $(rustc --version), $rounds rounds of $scale of the usual number of messages."
  : > "$run/below"
  for broker in mosquitto postrider; do
    echo
    echo "## Against ${broker/postrider/our broker}"
    for size in 64 16384; do
      many=$((size == 64 ? 10 : 1))
      cell publish "$broker" 0 1 "$size" $((many * 30000))
      for qos in 1 2; do
        cell publish "$broker" "$qos" 1 "$size" 10000
        cell publish "$broker" "$qos" 100 "$size" $((many * 6000))
      done
    done
    tables published
    for size in 64 16384; do
      many=$((size == 64 ? 10 : 1))
      for qos in 0 1 2; do
        cell receive "$broker" "$qos" 100 "$size" $((many * 10000))
      done
    done
    tables received
  done
  echo
  echo '## Ratios below 1'
  echo
  echo 'To rumqttc, and to the best of the two; and why.'
  echo
  if [ -s "$run/below" ]; then cat "$run/below"; else echo 'None.'; fi
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
        if timeout "$RUN_SECONDS_MAX" "$timed/$client" idle "${port[postrider]}" "$sessions" 2> "$run/report"; then
          keep "$client"
        else
          complain "$timed" "$client" idle "$sessions"
        fi
      done
    done
    for client in "${clients[@]}"; do line+=" $(short "$(median "$client" kib)") |"; done
    echo "$line"
    echo "idle, $sessions: done" >&2
  done
} > "$run/report.md"
mv "$run/report.md" docs/performance-clients.md
