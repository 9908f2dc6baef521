#!/usr/bin/env bash
# Our own broker, started the same way as the others.
#
# usage: tests/brokers/postrider.sh start [--port N] [ARGUMENT...]
#        tests/brokers/postrider.sh stop|kill DIR
#        tests/brokers/postrider.sh version
#
# start prints one line, `port=N pid=N dir=DIR`, once the broker answers; the log is DIR/log. Further arguments go to
# `postrider broker`. The program is $POSTRIDER_BIN, or target/debug/postrider.
# stop ends the process of DIR by its id, waits until it is gone, and removes DIR; kill does so like a crash.
set -euo pipefail
. "$(dirname "$0")/process.sh"

program() {
  local program=${POSTRIDER_BIN:-$(dirname "$0")/../../target/debug/postrider}
  [ -x "$program" ] || { echo "$program is not there: cargo build --bin postrider" >&2; exit 3; }
  echo "$program"
}

version() {
  local program
  program=$(program)
  "$program" --version | sed 's/^[^ ]* //'
}

start() {
  local port='' program arguments
  if [ "${1:-}" = --port ]; then port=$2; shift 2; fi
  arguments=("$@")
  program=$(program)
  command_at() { # PORT
    COMMAND=("$program" broker --listen "tcp://127.0.0.1:$1" "${arguments[@]}")
  }
  process_start "$(mktemp -d)" "$port" 'listening on tcp://127.0.0.1:'
}

process_main "$@"
