#!/usr/bin/env bash
# The scenario list, both faces of the client, 3.1.1 and 5.0, against Mosquitto.
. "$(dirname "$0")/lane.sh"
. "$(dirname "$0")/scenarios.sh"

scenarios_begin mosquitto
scenarios_need
scenarios_run
