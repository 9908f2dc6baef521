#!/usr/bin/env bash
# The scenario list, both faces of the client, 3.1.1 and 5.0, against Mosquitto.
. "$(dirname "$0")/lane.sh"
. "$(dirname "$0")/scenarios.sh"

scenarios_begin mosquitto scenarios-mosquitto
export PATH=$PATH:/usr/sbin
command -v mosquitto > /dev/null || lane_not_run "mosquitto is not installed"
scenarios_run scenarios_mosquitto
