#!/usr/bin/env bash
# Publisher, broker and subscriber, killed while messages are open: every number is compared. See docs/durability.md.
#
# usage: tests/lanes/crash.sh
. "$(dirname "$0")/lane.sh"
. "$(dirname "$0")/foreign.sh"

lane_begin crash
foreign_python
lane_program
cargo build --quiet --locked --package postrider-crash || { echo "the program does not build"; exit 1; }
crash=$CARGO_TARGET_DIR/debug/postrider-crash
mkdir "$RUN"/{kills,hubs,paho,full}
# A slow machine kills less often in its time.
lane_cases 240 "$crash" --program "$POSTRIDER_BIN" --folder "$RUN/kills" --kills 300 --seconds 60 --least 3
lane_cases 120 "$crash" --program "$POSTRIDER_BIN" --folder "$RUN/hubs" --kills 60 --seconds 20 --least 1 --hubs 3
lane_cases 120 "$crash" --program "$POSTRIDER_BIN" --folder "$RUN/paho" --kills 60 --seconds 30 --least 1 --paho "$PYTHON"
lane_cases 120 "$crash" full --program "$POSTRIDER_BIN" --folder "$RUN/full"
lane_cases 120 "$crash" flips --every 17 --spool-every 4999
lane_end
