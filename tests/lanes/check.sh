#!/usr/bin/env bash
# The conformance judge against our broker: with one hub, and with two.
. "$(dirname "$0")/lane.sh"

# Each play, in each of its versions, is a case of this lane.
judge() { # HUBS
  local line
  timeout 120 "$POSTRIDER_BIN" check --url "mqtt://127.0.0.1:$port" > "$RUN/check.out" 2>&1
  cat "$RUN/check.out"
  line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$RUN/check.out")
  if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
    LANE_PASSED=$((LANE_PASSED + BASH_REMATCH[1]))
    LANE_FAILED=$((LANE_FAILED + BASH_REMATCH[2]))
    [ "${BASH_REMATCH[2]}" -eq 0 ] || sed -n "s/^FAIL */fail: $1 hubs: /p" "$RUN/check.out"
  else
    LANE_FAILED=$((LANE_FAILED + 1))
    echo "fail: $1 hubs: the judge gave no verdict"
  fi
}

lane_begin check
lane_program
lane_broker postrider
judge 1
lane_broker postrider --hubs 2
judge 2
lane_end
