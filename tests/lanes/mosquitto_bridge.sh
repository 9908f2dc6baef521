#!/usr/bin/env bash
# A Mosquitto that bridges to our broker: both directions, every QoS, retained messages, and brokers that go away and
# come back; as a private bridge (protocol levels 0x83 and 0x84), as a plain client of 3.1.1, and at 5.0.
#
# usage: tests/lanes/mosquitto_bridge.sh [--broker mosquitto] [--only TEXT]
#
# No case waits for a time to pass: each waits for a line of a log or for a message.
. "$(dirname "$0")/lane.sh"
. "$(dirname "$0")/foreign.sh"

# The broker that is bridged to, and the Mosquitto that bridges: ports and directories.
far='' far_dir='' near='' near_dir='' suffix=''
far_arguments=()
BRIDGES=200

# --- brokers -----------------------------------------------------------------------------------------------------

start_far() { # ARGUMENT...
  local port pid dir
  lane_broker "$foreign_broker" "$@" "${far_arguments[@]}"
  far=$port far_dir=$dir
}

# A Mosquitto with a bridge that carries `out/`, `in/` and `both/` at QoS 2.
start_near() { # LINES ARGUMENT...
  local lines=$1 port pid dir; shift
  {
    printf 'connection bridge\naddress 127.0.0.1:%s\nremote_clientid bridge\n' "$far"
    # By a will: 1 while the bridge is connected, then 0.
    printf 'notification_topic bridge/state\nnotifications_local_only false\n'
    printf 'cleansession false\nrestart_timeout 1\n%b\n' "$lines"
    printf 'topic # out 2 out/ far/out/\ntopic # in 2 in/ far/in/\ntopic # both 2 both/ both/\n'
  } > "$RUN/bridge.conf"
  lane_broker mosquitto --config "$RUN/bridge.conf" --data "$RUN/near" "$@"
  near=$port near_dir=$dir
}

# Waits until the bridge has connected and subscribed for the N-th time: to `in/` and to `both/`.
bridged() { # N
  has_subscribed() { [ "$(grep -c 'Received SUBACK from local.bridge' "$near_dir/log")" -ge $((2 * $1)) ]; }
  wait_for has_subscribed "$1" || { cat "$near_dir/log"; return 1; }
}

# --- clients -----------------------------------------------------------------------------------------------------

publish() { # PORT ARGUMENT...
  local at=$1 said; shift
  said=$(timeout 60 mosquitto_pub -p "$at" "$@" 2>&1) && [ -z "$said" ] || { echo "mosquitto_pub: $said"; return 1; }
}

# Starts a subscriber NAME and waits for its SUBACK. Messages become lines `>topic|qos|retain|text`.
subscriber() { # NAME PORT ARGUMENT...
  local name=$1 at=$2; shift 2
  : > "$RUN/$name.out"
  stdbuf -oL mosquitto_sub -p "$at" -d -q 2 -F "${FORMAT:->%t|%q|%r|%p}" "$@" >> "$RUN/$name.out" 2>&1 &
  wait_for grep -qE '^Subscribed' "$RUN/$name.out"
}

arrived() { # NAME LINE
  grep -qaxF ">$2" "$RUN/$1.out"
}

# Publishes at PORT to a topic that subscriber NAME gets as SEEN; then all that NAME has must be LINE...
received() { # NAME PORT TOPIC SEEN LINE...
  local name=$1 at=$2 topic=$3 seen=$4 expected; shift 4
  publish "$at" -t "$topic" -m fence -q 2
  wait_for arrived "$name" "$seen|2|0|fence"
  expected=$(printf '>%s\n' "$@" "$seen|2|0|fence")
  [ "$(grep -a '^>' "$RUN/$name.out")" = "$expected" ] || {
    printf 'expected:\n%s\nreceived:\n' "$expected"
    grep -a '^>' "$RUN/$name.out"
    return 1
  }
}

# --- cases -------------------------------------------------------------------------------------------------------

outward() {
  local qos
  subscriber s "$far" -t 'far/out/#'
  for qos in 0 1 2; do publish "$near" -t "out/$qos" -m "at $qos" -q "$qos"; done
  received s "$near" out/end far/out/end 'far/out/0|0|0|at 0' 'far/out/1|1|0|at 1' 'far/out/2|2|0|at 2'
}

inward() {
  local qos
  subscriber s "$near" -t 'in/#'
  for qos in 0 1 2; do publish "$far" -t "far/in/$qos" -m "at $qos" -q "$qos"; done
  received s "$far" far/in/end in/end 'in/0|0|0|at 0' 'in/1|1|0|at 1' 'in/2|2|0|at 2'
}

# What is carried both ways comes to each side once: the far broker does not send a bridge its own messages back.
both_ways() {
  subscriber near "$near" -t 'both/#'
  subscriber far "$far" -t 'both/#'
  publish "$near" -t both/near -m x -q 2
  wait_for arrived far 'both/near|2|0|x'
  publish "$far" -t both/far -m x -q 2
  wait_for arrived near 'both/far|2|0|x'
  received near "$far" both/end both/end 'both/near|2|0|x' 'both/far|2|0|x'
  received far "$near" both/last both/last 'both/near|2|0|x' 'both/far|2|0|x' 'both/end|2|0|fence'
}

# The retain flag crosses with live messages, so that the other side keeps and clears them.
retained() { # PORT TOPIC PORT SEEN
  subscriber live "$3" -t "$4"
  publish "$1" -t "$2" -m kept -q 1 -r
  wait_for arrived live "$4|1|0|kept"
  subscriber late "$3" -t "$4"
  wait_for arrived late "$4|1|1|kept"
  publish "$1" -t "$2" -n -q 1 -r
  wait_for arrived live "$4|1|0|"
  subscriber last "$3" -t "$4"
  received last "$1" "$2" "$4"
}

large() { # PORT TOPIC PORT SEEN
  head -c 1048576 /dev/urandom > "$RUN/large"
  # A session holds the message until there is somebody to write it to a file.
  timeout 20 mosquitto_sub -p "$3" -t "$4" -q 2 -i "large-$4" -c -E
  publish "$1" -t "$2" -f "$RUN/large" -q 2
  timeout 20 mosquitto_sub -p "$3" -t "$4" -q 2 -i "large-$4" -c -C 1 -N > "$RUN/large.out"
  cmp "$RUN/large" "$RUN/large.out"
}

in_order() { # PORT TOPIC PORT SEEN
  seq 1 500 > "$RUN/lines"
  subscriber s "$3" -t "$4"
  publish "$1" -t "$2" -q 1 -l < "$RUN/lines"
  wait_for arrived s "$4|1|0|500"
  grep -a '^>' "$RUN/s.out" | cut -d '|' -f 4 | cmp - "$RUN/lines"
}

properties() { # PORT TOPIC PORT SEEN
  FORMAT='>%t|%C|%R|%D|%F|%P' subscriber s "$3" -V mqttv5 -t "$4"
  publish "$1" -V mqttv5 -t "$2" -q 2 -m '{}' -D publish user-property b 2 -D publish user-property a 1 \
    -D publish content-type application/json -D publish payload-format-indicator 1 \
    -D publish response-topic back -D publish correlation-data c-1
  wait_for arrived s "$4|application/json|back|c-1|1|b:2 a:1"
}

# While the far broker is away: what is published for it waits at the bridge.
far_is_away() {
  local n
  wait_for grep -qE 'Client local.bridge (closed its connection|disconnected)|error on client local' "$near_dir/log"
  for n in 1 2 3 4 5; do publish "$near" -t out/away -m "$n" -q 1 -r; done
}

far_has_returned() {
  bridged 2
  subscriber s "$far" -t 'far/out/#'
  wait_for arrived s 'far/out/away|1|1|5'
  subscriber n "$near" -t 'in/#'
  received n "$far" far/in/end in/end
}

# While the bridge is away: what is published for it waits in its session, and for `keeper` at the bridge after that.
near_is_away() {
  local n
  for n in 1 2 3; do publish "$far" -t far/in/away -m "$n" -q 1; done
  # QoS 2 last: such a message is shown at PUBREL.
  for n in 4 5 6; do publish "$far" -t far/in/away -m "$n" -q 2; done
}

near_has_returned() {
  bridged 1
  subscriber keeper "$near" -i keeper -c -t 'in/#'
  received keeper "$far" far/in/end in/end 'in/away|1|0|1' 'in/away|1|0|2' 'in/away|1|0|3' 'in/away|2|0|4' \
    'in/away|2|0|5' 'in/away|2|0|6'
}

# The will of a bridge that is killed.
bridge_dies() {
  subscriber state "$far" -t bridge/state
  # Retained, or live if the bridge has only just connected.
  wait_for grep -qaxE '>bridge/state\|1\|[01]\|1' "$RUN/state.out"
  kill -9 "$(cat "$near_dir/pid")"
  wait_for arrived state 'bridge/state|1|0|0'
  subscriber late "$far" -t bridge/state
  wait_for arrived late 'bridge/state|1|1|0'
}

# One Mosquitto with BRIDGES bridges: a message crosses by each of them, outward and inward.
crowd() {
  local n
  subscriber far "$far" -t 'far/+/out'
  subscriber near "$near" -t 'near/+/in'
  publish "$near" -t out -m x -q 2
  publish "$far" -t in -m y -q 2
  for ((n = 0; n < BRIDGES; n++)); do
    wait_for arrived far "far/$n/out|2|0|x"
    wait_for arrived near "near/$n/in|2|0|y"
  done
  [ "$(grep -ac '^>' "$RUN/far.out")" -eq "$BRIDGES" ] && [ "$(grep -ac '^>' "$RUN/near.out")" -eq "$BRIDGES" ]
}

# --- the lane ----------------------------------------------------------------------------------------------------

try() { # TEXT FUNCTION ARGUMENT...
  local text=$1$suffix; shift
  [[ -n $foreign_only && $text != *"$foreign_only"* ]] || lane_case "$text" "$@"
}

variant() { # NAME LINES
  local name=$1 lines=$2 port
  rm -rf "$RUN/near" && mkdir "$RUN/near"
  start_far
  start_near "$lines"
  try "$name: connects and subscribes" bridged 1
  try "$name: each QoS outward" outward
  try "$name: each QoS inward" inward
  try "$name: 500 messages outward" in_order "$near" out/lines "$far" far/out/lines
  try "$name: 500 messages inward" in_order "$far" far/in/lines "$near" in/lines
  try "$name: 1 MiB outward" large "$near" out/large "$far" far/out/large
  try "$name: 1 MiB inward" large "$far" far/in/large "$near" in/large
  try "$name: retained outward" retained "$near" out/kept "$far" far/out/kept
  # A plain client of 3.1.1 gets live messages without the retain flag, and its own back.
  if [ "$name" != "plain 3.1.1" ]; then
    try "$name: retained inward" retained "$far" far/in/kept "$near" in/kept
    try "$name: both ways, each once" both_ways
  fi
  if [ "$name" = 5.0 ]; then
    try "$name: properties outward" properties "$near" out/props "$far" far/out/props
    try "$name: properties inward" properties "$far" far/in/props "$near" in/props
  fi
  # Mosquitto takes six seconds to connect again, so this is not done by each variant.
  case $name$suffix in
    "private 3.1.1"* | 5.0)
      port=$far
      lane_stop "$foreign_broker" "$far_dir"
      try "$name: the broker is away" far_is_away
      start_far --port "$port"
      try "$name: the broker has returned" far_has_returned ;;
  esac
  # At 5.0 a bridge of Mosquitto 2.0 asks for no session expiry, so that its session ends with its connection.
  if [ "$name" != 5.0 ]; then
    mosquitto_sub -p "$near" -i keeper -c -t 'in/#' -q 2 -E
    port=$near
    lane_stop mosquitto "$near_dir"
    try "$name: the bridge is away" near_is_away
    start_near "$lines" --port "$port"
    try "$name: the bridge has returned" near_has_returned
  fi
  try "$name: the will of a killed bridge" bridge_dies
  lane_stop mosquitto "$near_dir"
  lane_stop "$foreign_broker" "$far_dir"
}

many_bridges() {
  local n port pid dir
  start_far
  for ((n = 0; n < BRIDGES; n++)); do
    printf 'connection bridge-%s\nremote_clientid bridge-%s\n' "$n" "$n"
    printf 'address 127.0.0.1:%s\nnotifications false\n' "$far"
    printf 'bridge_protocol_version %s\n' "$( ((n % 2)) && echo mqttv311 || echo mqttv50)"
    printf 'topic out out 2 "" far/%s/\ntopic in in 2 near/%s/ ""\n' "$n" "$n"
  done > "$RUN/bridge.conf"
  lane_broker mosquitto --config "$RUN/bridge.conf"
  near=$port near_dir=$dir
  try "$BRIDGES bridges at once connect" bridged $((BRIDGES / 2))
  try "$BRIDGES bridges at once carry" crowd
  lane_stop mosquitto "$near_dir"
  lane_stop "$foreign_broker" "$far_dir"
}

all_variants() {
  variant "private 3.1.1" 'bridge_protocol_version mqttv311\ntry_private true'
  variant "private 3.1" 'bridge_protocol_version mqttv31\ntry_private true'
  variant "plain 3.1.1" 'bridge_protocol_version mqttv311\ntry_private false'
  variant "5.0" 'bridge_protocol_version mqttv50'
  many_bridges
}

foreign_arguments "$@"
foreign_begin mosquitto-bridge
foreign_broker=${foreign_broker:-postrider}
PATH=$PATH:/usr/sbin command -v mosquitto > /dev/null || lane_not_run "mosquitto is not installed"
command -v mosquitto_sub > /dev/null || lane_not_run "mosquitto-clients is not installed"
lane_client "Mosquitto as a bridge" "$(PATH=$PATH:/usr/sbin mosquitto -h | sed -n 's/^mosquitto version //p')"
if [ "$foreign_broker" = postrider ]; then
  lane_program
  all_variants
  far_arguments=(--hubs 2) suffix=", two hubs"
fi
all_variants
lane_end
