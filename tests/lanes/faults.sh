#!/usr/bin/env bash
# Our client against Mosquitto, with connections that break in every way, then with kills of Mosquitto too. A short run
# with a fixed seed; see docs/durability.md for the long one.
#
# usage: tests/lanes/faults.sh
. "$(dirname "$0")/lane.sh"

lane_begin faults
tests/brokers/mosquitto.sh version > /dev/null || lane_not_run "mosquitto is not installed"
cargo build --quiet --locked --package postrider-crash || { echo "the program does not build"; exit 1; }
lane_cases 300 "$CARGO_TARGET_DIR/debug/postrider-crash" faults --folder "$RUN" --seed 4 --faults 32 --pause 600 --least 1
lane_end
