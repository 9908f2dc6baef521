#!/usr/bin/env bash
# The scenario list, both faces of the client, against NATS: what it cannot do is expected by name.
. "$(dirname "$0")/lane.sh"
. "$(dirname "$0")/scenarios.sh"

scenarios_begin nats
scenarios_need
scenarios_run
