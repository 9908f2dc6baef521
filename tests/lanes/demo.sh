#!/usr/bin/env bash
# `postrider demo`, as the README says: the release build, status 0.
. "$(dirname "$0")/lane.sh"

DEMO_SECONDS_MAX=120

lane_begin demo
cargo build --release --locked --bin postrider || { echo "the program does not build"; exit 1; }
demo() {
  timeout "$DEMO_SECONDS_MAX" "$CARGO_TARGET_DIR/release/postrider" demo < /dev/null | tee "$RUN/demo.out"
}
demo
status=$?
shows_steps() { [ "$status" -eq 0 ] && [ -s "$RUN/demo.out" ]; }
lane_case "the demo ends with status 0" shows_steps
lane_end
