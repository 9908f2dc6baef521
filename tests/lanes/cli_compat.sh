#!/usr/bin/env bash
# The same command lines through Mosquitto's clients and through ours under their names, against one broker: outputs are
# compared byte for byte, and exit statuses.
#
# usage: tests/lanes/cli_compat.sh [--only TEXT]
. "$(dirname "$0")/lane.sh"

only=''

# Runs both sides of a program: `theirs/PROGRAM` and `ours/PROGRAM` write to files, with their status at the end.
both() { # PROGRAM ARGUMENT...
  local program=$1 side status; shift
  for side in theirs ours; do
    status=0
    TZ=America/St_Johns timeout 30 "$RUN/$side/$program" -p "$port" "$@" > "$RUN/$side.out" 2> "$RUN/$side.err" \
      < "${INPUT:-/dev/null}" || status=$?
    echo "$status" > "$RUN/$side.status"
  done
}

same_status() { # STATUS
  [ "$(cat "$RUN/theirs.status")" = "$1" ] || { echo "theirs ended with $(cat "$RUN/theirs.status")"; return 1; }
  [ "$(cat "$RUN/ours.status")" = "$1" ] || { echo "ours ended with $(cat "$RUN/ours.status")"; cat "$RUN/ours.err"; return 1; }
}

same_output() {
  cmp "$RUN/theirs.out" "$RUN/ours.out" || { diff <(od -c "$RUN/theirs.out") <(od -c "$RUN/ours.out"); return 1; }
}

# What a clock writes is replaced before it is compared.
without_time() {
  local side
  for side in theirs ours; do
    sed -i -E 's/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]{6}Z)?/TIME/; s/[0-9]{10}\.[0-9]{9}/UNIX/' "$RUN/$side.out"
  done
}

retained() { # TOPIC ARGUMENT...
  local topic=$1; shift
  mosquitto_pub -p "$port" -t "$topic" -r -q 1 "$@"
}

# --- cases -------------------------------------------------------------------------------------------------------

FORMATS=(
  '%t %p' '[%10t|%-10t|%.2t|%5.1t|%05t]' '[%010l|%5l|%-5l|%05l]' '[%5C|%.3C|%-20C|%C]' '[%E|%10E|%05E]' '%D' '[%F|%3F|%-3F]'
  '%P' '[%R|%12R]' '[%S|%5S]' '[%A|%3A|%03A]' '[%m|%05m|%-5m]' '%q%r' '[%20p|%-20p|%020p|%1p|%.1p|%-p]'
  '[%x|%X|%6x|%-6x|%06X|%2x|%3x|%-x]' '%%@@' '\\|\a|\e|\n|\r|\t|\v|\0|' 'plain'
  '@Y-@m-@d @a @A @b @B @C @D @e @F @g @G @h @j @u @U @V @w @W @x @y @z @Z' '@i@f@Q@L@1@%@v' '@n@t' '%I' '%U' '%j' '%J'
)

formats() { # VERSION QOS
  local version=$1 qos=$2 format
  retained "fmt/$version" -V mqttv5 -m '{"a":27.0,"b":[1,2.50,"x\u00e9\/y",null,{}]}' -D publish user-property k v \
    -D publish user-property k2 'v 2' -D publish content-type application/json -D publish correlation-data nr-7 \
    -D publish payload-format-indicator 1 -D publish response-topic back
  retained "fmt/plain/$version" -m ab
  for format in "${FORMATS[@]}"; do
    for topic in "fmt/$version" "fmt/plain/$version"; do
      both mosquitto_sub -V "$version" -q "$qos" -t "$topic" -C 1 -W 10 -F "$format"
      [ "$topic $format" = "fmt/plain/$version %J" ] || same_status 0
      without_time
      same_output || { echo "format: $format"; return 1; }
    done
  done
}

json_values() {
  local payload format
  for payload in '[1.5e300,0.1,100000000000,12345678901234567890,-0,1e-7,123456.789,1E400]' '"\ud83d\ude00 \u0001"' \
      ' {"a" : 1 } ' '[01]' '[1.]' '{"a":1,"a":2}' '[]' '{}' 'not json' '{"a":1} x' $'tab\tquote"back\\slash\x01\x7f'; do
    retained json -m "$payload"
    for format in %j %J; do
      both mosquitto_sub -t json -C 1 -W 10 -F "$format"
      without_time
      same_output || { echo "payload: $payload"; return 1; }
      both mosquitto_sub -t json -C 1 -W 10 -F "$format" --pretty
      without_time
      same_output || { echo "pretty payload: $payload"; return 1; }
    done
  done
  cmp "$RUN/theirs.err" "$RUN/ours.err"
}

wrong_formats() {
  local format
  for format in % 'a%-' '%5.' @ \\ '%k' '%M' '\q'; do
    both mosquitto_sub -t a -F "$format"
    same_status 1
  done
}

plain_output() {
  local option
  retained plain/a -m 'one'
  retained plain/c -m 'three'
  for option in '' -v -N '-v -N' '-T plain/a' '-q 2' '-i some' '-I pre' '-A 127.0.0.1' --nodelay '-V 5' '-V mqttv31' '-k 5'; do
    # shellcheck disable=SC2086 # several words
    both mosquitto_sub -t 'plain/+' -W 1 $option
    same_status 27
    without_order
    same_output || { echo "option: $option"; return 1; }
    cmp "$RUN/theirs.err" "$RUN/ours.err"
  done
  both mosquitto_sub -t 'plain/+' -R -W 1
  same_status 27
  same_output
  both mosquitto_sub -t plain/a -E
  same_status 0
  same_output
}

# A topic in the URL, in place of host, port and topic.
urls() {
  local side
  retained url/a -m here
  for side in theirs ours; do
    timeout 30 "$RUN/$side/mosquitto_pub" -L "mqtt://127.0.0.1:$port/url/$side" -m "from a url" -r -q 1
    timeout 30 "$RUN/$side/mosquitto_sub" -L "mqtt://127.0.0.1:$port/url/$side" -C 1 > "$RUN/$side.out"
  done
  same_output
}

# What is published reaches a subscriber of theirs: the same from both.
published() { # VERSION
  local version=$1 qos side line
  printf 'one\n\ntwo\r\nthree' > "$RUN/lines"
  printf 'a file\0with any\xff bytes' > "$RUN/file"
  for qos in 0 1 2; do
    for side in theirs ours; do
      : > "$RUN/$side.out"
      stdbuf -oL mosquitto_sub -p "$port" -d -V mqttv5 -q 2 -t "pub/$side/#" -F '>%r %q %l %x' >> "$RUN/$side.out" 2>&1 &
      line=("$RUN/$side/mosquitto_pub" -p "$port" -V "$version" -q "$qos" -t "pub/$side/a")
      wait_for grep -q '^Subscribed' "$RUN/$side.out"
      "${line[@]}" -m text
      "${line[@]}" -n
      "${line[@]}" -f "$RUN/file"
      "${line[@]}" -s < "$RUN/file"
      "${line[@]}" -l < "$RUN/lines"
      "${line[@]}" -m again --repeat 3 --repeat-delay 0.01
      "${line[@]}" -m -D -M 1
      mosquitto_pub -p "$port" -q 2 -t "pub/$side/end" -m the-end
      wait_for grep -q 'x\?7468652d656e64$' "$RUN/$side.out"
      sed -i -n '/^>/p' "$RUN/$side.out"
    done
    same_output
  done
}

properties() {
  local side
  for side in theirs ours; do
    "$RUN/$side/mosquitto_pub" -p "$port" -V 5 -t "props/$side" -m x -r -q 1 -D publish content-type text/plain \
      -D PUBLISH user-property 'a b' '-c' -D publish user-property d e -D publish message-expiry-interval 1000 \
      -D publish correlation-data c-1 -D publish response-topic back -D publish payload-format-indicator 1 \
      -D connect user-property x y -D connect receive-maximum 7 -D disconnect user-property z z -x 60 -i "$side"
    mosquitto_sub -p "$port" -V 5 -t "props/$side" -C 1 -W 10 -F '%C|%D|%F|%P|%R|%p' > "$RUN/$side.out"
  done
  same_output
  grep -qx 'text/plain|c-1|1|a b:-c d:e|back|x' "$RUN/ours.out"
}

retained_options() {
  local side n left
  for side in theirs ours; do
    for n in 1 2 3; do retained "clear/$side/$n" -m "$n"; done
    "$RUN/$side/mosquitto_sub" -p "$port" -t "clear/$side/#" -T "clear/$side/3" --remove-retained -W 1 || [ $? -eq 27 ]
    left=$(mosquitto_sub -p "$port" -t "clear/$side/#" -W 1 -F '%p') || [ $? -eq 27 ]
    [ "$left" = 3 ] || { echo "$side left: $left"; return 1; }
  done
  for side in theirs ours; do
    retained "only/$side" -m kept
    : > "$RUN/$side.out"
    stdbuf -oL "$RUN/$side/mosquitto_sub" -p "$port" -t "only/$side" --retained-only > "$RUN/$side.out" &
    n=$!
    wait_for grep -q kept "$RUN/$side.out"
    mosquitto_pub -p "$port" -t "only/$side" -m fresh -q 1
    wait "$n"
  done
  same_output
}

will() {
  local side pid
  for side in theirs ours; do
    # Before the background, which may be slower than the look at what stands there.
    : > "$RUN/watch.out"
    : > "$RUN/dies.out"
    stdbuf -oL mosquitto_sub -p "$port" -d -V 5 -q 1 -t "will/$side" -C 1 -F '>%r %q %P %p' > "$RUN/watch.out" 2>&1 &
    pid=$!
    wait_for grep -q '^Subscribed' "$RUN/watch.out"
    retained "will/ready/$side" -m ready
    stdbuf -oL "$RUN/$side/mosquitto_sub" -p "$port" -V 5 -t "will/ready/$side" --will-topic "will/$side" \
      --will-payload gone --will-qos 1 --will-retain -D will user-property k v > "$RUN/dies.out" &
    wait_for grep -q ready "$RUN/dies.out"
    kill -KILL $!
    wait "$pid"
    sed -n '/^>/p' "$RUN/watch.out" > "$RUN/$side.out"
  done
  same_output
  grep -qx '>0 1 k:v gone' "$RUN/ours.out"
}

# What -d says of each packet. A subscriber's message may stand later among the lines: they are compared sorted.
debug() { # VERSION
  local version=$1 qos side
  printf 'one\ntwo\n' > "$RUN/lines"
  for qos in 0 1 2; do
    # Taken by nobody, 5.0 says so in a code of its own.
    mosquitto_sub -p "$port" -V 5 -i keeps -c -q 2 -t 'debug/#' -E
    both mosquitto_pub -V "$version" -d -i me -t debug/a -m hello -q "$qos" -r
    same_status 0
    same_output
    both mosquitto_pub -V "$version" -d -i me -t debug/a -m hello -q "$qos" --repeat 3
    same_output
    INPUT=$RUN/lines both mosquitto_pub -V "$version" -d -i me -t debug/a -l -q "$qos" -M 1
    without_order
    same_output
    both mosquitto_sub -V "$version" -d -i me -t debug/a -q "$qos" -C 1
    same_status 0
    without_order
    # Ours has the message at its PUBLISH, and may end before PUBREL comes.
    [ "$qos" = 2 ] || same_output
    [ -z "$(LC_ALL=C comm -13 "$RUN/theirs.out" "$RUN/ours.out")" ] || { echo 'ours has other lines'; return 1; }
  done
  both mosquitto_sub -V "$version" -d -i me -t debug/a --quiet -k 5 -C 1
  without_order
  same_output
}

without_order() {
  local side
  for side in theirs ours; do LC_ALL=C sort -o "$RUN/$side.out" "$RUN/$side.out"; done
}

# One service of theirs answers both.
request() { # VERSION
  local version=$1 side pid
  for side in theirs ours; do
    : > "$RUN/service.out"
    stdbuf -oL mosquitto_sub -p "$port" -d -V 5 -t "ask/$side" -C 1 -F '>%R|%p' > "$RUN/service.out" 2>&1 &
    wait_for grep -q '^Subscribed' "$RUN/service.out"
    timeout 30 "$RUN/$side/mosquitto_rr" -p "$port" -V "$version" -t "ask/$side" -e "answer/$side" -m question -q 1 \
      -v -W 20 > "$RUN/$side.out" &
    pid=$!
    wait_for grep -q '^>' "$RUN/service.out"
    grep '^>' "$RUN/service.out"
    mosquitto_pub -p "$port" -t "answer/$side" -m reply -q 1
    wait "$pid"
    sed -i "s/$side/SIDE/" "$RUN/$side.out"
  done
  same_output
  both mosquitto_rr -V "$version" -t nobody -e answer/none -m x -W 1
  same_status 27
}

statuses() {
  local arguments
  for arguments in '' '-t a' '-t a/# -m x' '-t a -m x -q 3' '-t a -m x -f y' '-t a -m x --foo' '-t a -m' '-t a -f /no/such' \
      '-t a -m x -D publish foo 1' '-t a -m x -D puback reason-string 1' '-t a -m x -D connect topic-alias 1' \
      '-t a -m x -h nowhere.invalid'; do
    # shellcheck disable=SC2086 # several words
    both mosquitto_pub $arguments
    same_status 1 || { echo "arguments: $arguments"; return 1; }
  done
  both mosquitto_sub
  same_status 1
  both mosquitto_sub -t 'a/#/b'
  same_status 1
  both mosquitto_sub -t nothing -W 1
  same_status 27
  cmp "$RUN/theirs.err" "$RUN/ours.err"
}

refused() {
  local version
  both mosquitto_pub -t a -m x -q 1 -V 311 -u ann -P wrong
  same_status 5
  both mosquitto_pub -t a -m x -q 1 -V 5 -u ann -P wrong
  same_status 135
  both mosquitto_sub -t a -V 311
  same_status 5
  for version in 311 5; do
    both mosquitto_sub -t a -V "$version" -d -i me
    # Theirs says goodbye to a broker that refused it.
    sed -i '/sending DISCONNECT$/d' "$RUN/theirs.out"
    same_output
  done
  both mosquitto_sub -t a -V 5 --quiet
  same_status 135
  cmp "$RUN/theirs.err" "$RUN/ours.err"
  both mosquitto_pub -t a -m x -q 1 -u ann -P room-7
  same_status 0
}

# --- the lane ----------------------------------------------------------------------------------------------------

try() { # TEXT FUNCTION ARGUMENT...
  local text=$1; shift
  [[ -n $only && $text != *"$only"* ]] || lane_case "$text" "$@"
}

while [ $# -gt 0 ]; do
  case $1 in
    --only) only=$2 ;;
    *) echo "unknown argument $1" >&2; exit 2 ;;
  esac
  shift 2
done
lane_begin cli-compat
command -v mosquitto_rr > /dev/null || lane_not_run "mosquitto-clients is not installed"
lane_program
mkdir "$RUN/theirs" "$RUN/ours"
for program in mosquitto_pub mosquitto_sub mosquitto_rr; do
  ln -s "$(command -v "$program")" "$RUN/theirs/$program"
  ln -s "$(realpath "$POSTRIDER_BIN")" "$RUN/ours/$program"
done
lane_broker mosquitto
for version in mqttv31 mqttv311 mqttv5; do
  try "$version: every format" formats "$version" 1
  try "$version: every way to publish" published "$version"
done
for version in mqttv311 mqttv5; do
  try "$version: request and response" request "$version"
  try "$version: what -d says" debug "$version"
done
try "JSON values" json_values
try "wrong formats" wrong_formats
try "what is printed without a format" plain_output
try "URLs with topics" urls
try "properties" properties
try "retained messages: cleared, alone" retained_options
try "will" will
try "exit statuses" statuses
lane_broker mosquitto --user ann --password room-7
try "exit statuses of refused connections" refused
lane_end
