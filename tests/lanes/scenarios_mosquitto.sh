#!/usr/bin/env bash
# The scenario list, both faces of the client, 3.1.1 and 5.0, against Mosquitto.
. "$(dirname "$0")/lane.sh"

lane_begin scenarios-mosquitto
PATH=$PATH:/usr/sbin command -v mosquitto > /dev/null || lane_not_run "mosquitto is not installed"
export POSTRIDER_LANE=mosquitto PATH=$PATH:/usr/sbin
cargo test --workspace --locked --no-fail-fast --test scenarios_mosquitto > "$RUN/log" 2>&1
status=$?
cat "$RUN/log"
while read -r test; do echo "fail: $test"; done < <(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$RUN/log")
read -r LANE_PASSED LANE_FAILED LANE_SKIPPED < <(awk '/^test result:/ { p += $4; f += $6; s += $8 }
  END { print p + 0, f + 0, s + 0 }' "$RUN/log")
# A build error leaves no failed test behind.
[ "$status" -eq 0 ] || [ "$LANE_FAILED" -gt 0 ] || exit "$status"
lane_end
