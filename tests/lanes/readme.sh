#!/usr/bin/env bash
# The README's first program against our broker and against Mosquitto. A tidy test holds the text of the README and
# the example together.
. "$(dirname "$0")/lane.sh"

PROGRAM_SECONDS_MAX=30

first_program() { # PORT
  timeout "$PROGRAM_SECONDS_MAX" "$program" "mqtt://127.0.0.1:$1" > "$RUN/out"
  cat "$RUN/out"
  grep -q '21.5' "$RUN/out"
}

lane_begin readme
cargo build --workspace --locked --example first_program || { echo "the example does not build"; exit 1; }
program=$CARGO_TARGET_DIR/debug/examples/first_program
lane_program
lane_broker postrider
lane_case "first program against postrider broker" first_program "$port"
lane_broker mosquitto
lane_case "first program against Mosquitto" first_program "$port"
lane_end
