#!/usr/bin/env bash
# The scenario list, both faces of the client, against aedes (npm): what it cannot do is expected by name.
. "$(dirname "$0")/lane.sh"
. "$(dirname "$0")/foreign.sh"
. "$(dirname "$0")/scenarios.sh"

scenarios_begin aedes
foreign_node aedes tests/brokers/aedes
AEDES_MODULES=$NODE_PATH
export AEDES_MODULES
scenarios_need
scenarios_run
