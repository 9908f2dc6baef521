# Sourced by the lanes that play the scenario list at other people's brokers, after lane.sh.
#
#   scenarios_begin BROKER     begins the lane of that name
#   scenarios_need             ends it as not run if tests/brokers/BROKER.sh finds no such broker
#   scenarios_run              runs the cases of crates/testing/tests/interop for this broker and ends the lane
#
# What came of each case stands in target/interop/BROKER.tsv, or in BROKER.txt why there was none, for tests/interop.sh.

scenarios_broker=''

scenarios_begin() { # BROKER
  scenarios_broker=$1
  lane_begin "$1"
  mkdir -p "$CARGO_TARGET_DIR/interop"
  rm -f "$CARGO_TARGET_DIR/interop/$1".{tsv,txt}
}

# Ends the lane unless the broker is there.
scenarios_need() {
  local script=tests/brokers/$scenarios_broker.sh
  "$script" version > "$RUN/version" 2>&1 || lane_not_run "$(head -n 1 "$RUN/version")"
}

# As in lane.sh, and the reason is kept.
lane_not_run() { # REASON...
  echo "$*" > "$CARGO_TARGET_DIR/interop/$scenarios_broker.txt"
  echo "not run: $*"
  exit 0
}

scenarios_run() {
  local status test
  export POSTRIDER_LANE=$scenarios_broker POSTRIDER_INTEROP=$CARGO_TARGET_DIR/interop/$scenarios_broker.tsv
  # Whatever ends the broker after the last case holds this pipe open, so nothing is left when the lane ends.
  cargo test --workspace --locked --no-fail-fast --test interop -- "$scenarios_broker::" 2>&1 | tee "$RUN/log"
  status=${PIPESTATUS[0]}
  while read -r test; do echo "fail: $test"; done < <(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$RUN/log")
  read -r LANE_PASSED LANE_FAILED LANE_SKIPPED < <(awk '/^test result:/ { p += $4; f += $6; s += $8 }
    END { print p + 0, f + 0, s + 0 }' "$RUN/log")
  # A build error leaves no failed test behind.
  [ "$status" -eq 0 ] || [ "$LANE_FAILED" -gt 0 ] || exit "$status"
  lane_end
}
