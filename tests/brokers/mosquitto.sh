#!/usr/bin/env bash
# A Mosquitto of our own: on a free port of the loopback, in a throw-away directory, as the user who asks.
#
# usage: tests/brokers/mosquitto.sh start [--port N] [--data DIR] [--config FILE] [--user NAME --password TEXT]
#        tests/brokers/mosquitto.sh stop|kill DIR
#        tests/brokers/mosquitto.sh version
#
# start prints one line, `port=N pid=N dir=DIR`, once the broker answers; the log is DIR/log.
# stop ends the process of DIR by its id, waits until it is gone, and removes DIR; kill does so like a crash.
#   --port      this port, not a free one (to start a broker again where it was)
#   --data      keep sessions and retained messages in this directory, saved at a clean end and every second
#   --config    add the lines of this file to the configuration
#   --user      refuse everybody who does not give this name and password
set -euo pipefail
. "$(dirname "$0")/process.sh"

program() {
  PATH=$PATH:/usr/sbin command -v mosquitto || { echo "mosquitto is not installed" >&2; exit 3; }
}

version() {
  local program
  program=$(program)
  # It ends with 3 after its help.
  "$program" -h | sed -n 's/^mosquitto version //p' || true
}

start() {
  local port='' data='' config='' user='' password='' dir program
  process_arguments "port data config user password" "$@"
  program=$(program)
  dir=$(mktemp -d)
  write_configuration() { # PORT
    echo "listener $1 127.0.0.1"
    # Without this, 2.0 loses messages of a burst that it has acknowledged.
    echo "max_queued_messages 0"
    echo "log_type all"
    # As root it would become the user mosquitto, who may not read a directory of root's.
    [ "$(id -u)" -ne 0 ] || echo "user root"
    if [ -n "$data" ]; then
      printf 'persistence true\npersistence_location %s/\nautosave_interval 1\n' "$data"
    else
      echo "persistence false"
    fi
    if [ -n "$user" ]; then
      printf 'allow_anonymous false\npassword_file %s/password\n' "$dir"
    else
      echo "allow_anonymous true"
    fi
    [ -z "$config" ] || cat "$config"
  }
  if [ -n "$user" ]; then
    touch "$dir/password" && chmod 600 "$dir/password"
    mosquitto_passwd -b "$dir/password" "$user" "$password"
  fi
  command_at() { # PORT
    write_configuration "$1" > "$dir/mosquitto.conf"
    COMMAND=("$program" -c "$dir/mosquitto.conf")
  }
  process_start "$dir" "$port" ' running$'
}

process_main "$@"
