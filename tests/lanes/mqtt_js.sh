#!/usr/bin/env bash
# MQTT.js (npm) against our broker, with one hub and with two, or against another one.
#
# usage: tests/lanes/mqtt_js.sh [--broker mosquitto | --port N] [--only TEXT]
. "$(dirname "$0")/lane.sh"
. "$(dirname "$0")/foreign.sh"

foreign_arguments "$@"
foreign_begin mqtt-js
foreign_node
lane_client MQTT.js "$(node -p 'require("mqtt/package.json").version')"
foreign_brokers node tests/lanes/javascript/mqtt_js.js
if [ -z "$foreign_port$foreign_broker$foreign_only" ]; then
  lane_broker postrider --user press:room-7
  lane_cases "$FOREIGN_SECONDS_MAX" node tests/lanes/javascript/mqtt_js.js --port "$port" --only credentials
fi
lane_end
