#!/usr/bin/env bash
# paho-mqtt (PyPI) against our broker, with one hub and with two, or against another one.
#
# usage: tests/lanes/paho_python.sh [--broker mosquitto | --port N] [--only TEXT]
. "$(dirname "$0")/lane.sh"
. "$(dirname "$0")/foreign.sh"

foreign_arguments "$@"
foreign_begin paho-python
foreign_python
lane_client "paho-mqtt (Python)" "$(foreign_pin paho-mqtt)"
foreign_brokers "$PYTHON" tests/lanes/python/paho_python.py
if [ -z "$foreign_port$foreign_broker$foreign_only" ]; then
  lane_broker postrider --user press:room-7
  lane_cases "$FOREIGN_SECONDS_MAX" "$PYTHON" tests/lanes/python/paho_python.py --port "$port" --only credentials
fi
lane_end
