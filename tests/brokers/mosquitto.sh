#!/usr/bin/env bash
# A Mosquitto of our own: on a free port of the loopback, in a throw-away directory, as the user who asks.
#
# usage: tests/brokers/mosquitto.sh start [--port N] [--data DIR] [--config FILE] [--user NAME --password TEXT]
#        tests/brokers/mosquitto.sh stop DIR
#
# start prints one line, `port=N pid=N dir=DIR`, once the broker answers; the log is DIR/log.
# stop ends the process of DIR by its id, waits until it is gone, and removes DIR.
#   --port      this port, not a free one (to start a broker again where it was)
#   --data      keep sessions and retained messages in this directory, saved at a clean end and every second
#   --config    add the lines of this file to the configuration
#   --user      refuse everybody who does not give this name and password
set -euo pipefail
. "$(dirname "$0")/process.sh"

start() {
  local port='' data='' config='' user='' password='' dir program
  while [ $# -gt 0 ]; do
    case $1 in
      --port) port=$2 ;;
      --data) data=$2 ;;
      --config) config=$2 ;;
      --user) user=$2 ;;
      --password) password=$2 ;;
      *) echo "unknown argument $1" >&2; exit 2 ;;
    esac
    shift 2
  done
  program=$(PATH=$PATH:/usr/sbin command -v mosquitto) || { echo "mosquitto is not installed" >&2; exit 3; }
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

case ${1:-} in
  start) shift; start "$@" ;;
  stop) process_stop "$2" ;;
  *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
