# Sourced by the lanes: named cases that pass or fail, and the one line that ./test reads.
#
#   lane_begin NAME
#   lane_keeps                              what comes of the cases is kept in target/interop/NAME.cases, for
#   lane_client NAME VERSION                tests/interop.sh; whose client it is
#   lane_case TEXT FUNCTION ARGUMENT...     runs FUNCTION in a shell of its own under `set -e`
#   lane_cases SECONDS COMMAND...           runs a program with cases of its own
#   lane_skip TEXT REASON
#   lane_end
# A case may use $RUN, a directory of the lane, and `wait_for`. What a case leaves running is ended with it.

set -uo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$ROOT" || exit 1
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target} CARGO_TERM_COLOR=never

WAIT_TENTHS_MAX=${WAIT_TENTHS_MAX:-200} # how long a condition may take to become true
LANE='' RUN='' KEPT=/dev/null
LANE_PASSED=0 LANE_FAILED=0 LANE_SKIPPED=0
BROKERS=() # "script dir" of each broker the lane has started

lane_begin() { # NAME
  LANE=$1
  RUN=$(mktemp -d)
  trap lane_clean EXIT
  trap 'exit 1' INT TERM
}

lane_keeps() {
  KEPT=$CARGO_TARGET_DIR/interop/$LANE.cases
  mkdir -p "$CARGO_TARGET_DIR/interop"
  : > "$KEPT"
}

lane_client() { # NAME VERSION
  echo "client: $1; $2" >> "$KEPT"
}

lane_clean() {
  local broker
  # shellcheck disable=SC2086 # a script and a directory
  for broker in "${BROKERS[@]}"; do set -- $broker; "$1" stop "$2"; done
  [ -z "$RUN" ] || rm -rf "$RUN"
}

# Ends the lane without a result.
lane_not_run() { # REASON...
  echo "not run: $*" | tee -a "$KEPT"
  exit 0
}

lane_case() { # TEXT FUNCTION ARGUMENT...
  local text=$1 log; shift
  log=$RUN/case.log
  (
    # Bash counts jobs per shell, so these are the processes of this case alone.
    trap 'kill -9 $(jobs -p) 2> /dev/null || true' EXIT
    set -eE
    trap 'echo "line $LINENO: $BASH_COMMAND"' ERR
    "$@"
  ) > "$log" 2>&1
  if [ $? -eq 0 ]; then
    LANE_PASSED=$((LANE_PASSED + 1))
    echo "pass: $text" | tee -a "$KEPT"
  else
    LANE_FAILED=$((LANE_FAILED + 1))
    echo "fail: $text" | tee -a "$KEPT"
    tail -n 30 "$log" | sed 's/^/  | /'
  fi
}

# Runs a program for at most SECONDS and counts the lines `pass: TEXT`, `fail: TEXT`, `skip: TEXT` that it prints.
lane_cases() { # SECONDS COMMAND...
  local seconds=$1 log status failed; shift
  log=$RUN/cases.log
  timeout "$seconds" "$@" 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  grep -E '^(pass|fail): ' "$log" >> "$KEPT"
  failed=$(grep -c '^fail: ' "$log")
  LANE_PASSED=$((LANE_PASSED + $(grep -c '^pass: ' "$log")))
  LANE_SKIPPED=$((LANE_SKIPPED + $(grep -c '^skip: ' "$log")))
  # A program that ends early leaves cases out.
  if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ] || ! grep -qE '^(pass|fail|skip): ' "$log"; then
    failed=1
    echo "fail: $1 ended with status $status"
  fi
  LANE_FAILED=$((LANE_FAILED + failed))
}

lane_skip() { # TEXT REASON
  LANE_SKIPPED=$((LANE_SKIPPED + 1))
  echo "skip: $1: $2"
}

lane_end() {
  echo "lane $LANE: $LANE_PASSED passed, $LANE_FAILED failed, $LANE_SKIPPED skipped"
  [ "$LANE_FAILED" -eq 0 ]
}

# Starts a broker and sets `port`, `pid` and `dir`.
lane_broker() { # mosquitto|postrider ARGUMENT...
  local script=tests/brokers/$1.sh line; shift
  line=$("$script" start "$@" 2> "$RUN/start.log") || lane_not_run "$(head -n 1 "$RUN/start.log")"
  eval "$line"
  # shellcheck disable=SC2154 # `dir` was set by eval
  BROKERS+=("$script $dir")
}

# Ends a broker before the lane ends.
lane_stop() { # mosquitto|postrider|... DIR
  local broker left=()
  "tests/brokers/$1.sh" stop "$2"
  for broker in "${BROKERS[@]}"; do [ "$broker" = "tests/brokers/$1.sh $2" ] || left+=("$broker"); done
  BROKERS=("${left[@]}")
}

# Builds the program as ./test does, so that a lane by hand tests the tree as it is; sets POSTRIDER_BIN.
lane_program() {
  if [ -z "${POSTRIDER_BIN:-}" ]; then
    cargo build --quiet --workspace --locked --bin postrider || { echo "the program does not build"; exit 1; }
    export POSTRIDER_BIN=$CARGO_TARGET_DIR/debug/postrider
  fi
}

# Waits until a command succeeds.
wait_for() { # COMMAND...
  local tenth
  for ((tenth = 0; tenth < WAIT_TENTHS_MAX; tenth++)); do
    if "$@"; then return 0; fi
    sleep 0.1
  done
  echo "waited $((WAIT_TENTHS_MAX / 10)) s in vain for: $*"
  return 1
}
