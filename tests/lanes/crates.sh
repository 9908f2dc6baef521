#!/usr/bin/env bash
# The client crates rumqttc and paho-mqtt against our broker, with one hub and with two, or against another one.
#
# usage: tests/lanes/crates.sh [--broker mosquitto | --port N] [--only TEXT]
. "$(dirname "$0")/lane.sh"
. "$(dirname "$0")/foreign.sh"

foreign_arguments "$@"
foreign_begin crates
# paho-mqtt is C, built with cmake; not in the workspace's target directory, whose lock it would wait for.
command -v cmake > /dev/null || lane_not_run "cmake is not installed"
command -v cc > /dev/null || lane_not_run "a C compiler is not installed"
built=$CARGO_TARGET_DIR/lanes/crates
CARGO_TARGET_DIR=$built cargo build --quiet --locked --manifest-path tests/foreign/Cargo.toml || exit 1
pin() { # PACKAGE
  sed -n "/^name = \"$1\"/{n;s/.*\"\(.*\)\"/\1/p}" tests/foreign/Cargo.lock
}
lane_client rumqttc "$(pin rumqttc)"
lane_client "paho-mqtt (Rust)" "$(pin paho-mqtt)"
foreign_brokers "$built/debug/postrider-foreign"
lane_end
