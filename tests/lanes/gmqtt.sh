#!/usr/bin/env bash
# gmqtt (PyPI) against our broker, with one hub and with two, or against another one.
#
# usage: tests/lanes/gmqtt.sh [--broker mosquitto | --port N] [--only TEXT]
. "$(dirname "$0")/lane.sh"
. "$(dirname "$0")/foreign.sh"

foreign_arguments "$@"
foreign_begin gmqtt
foreign_python
lane_client gmqtt "$(foreign_pin gmqtt)"
foreign_brokers "$PYTHON" tests/lanes/python/gmqtt_client.py
lane_end
