#!/usr/bin/env bash
# A NATS server of our own that speaks MQTT: on free ports of the loopback, in a throw-away directory, as the user who
# asks.
#
# usage: tests/brokers/nats.sh start [--port N] [--data DIR] [--user NAME --password TEXT]
#        tests/brokers/nats.sh stop|kill DIR
#        tests/brokers/nats.sh version
#
# start prints one line, `port=N pid=N dir=DIR`, once the broker answers; the log is DIR/log.
# stop ends the process of DIR by its id, waits until it is gone, and removes DIR; kill does so like a crash.
#   --port      this port, not a free one (to start a broker again where it was)
#   --data      keep sessions and retained messages in this directory
#   --user      refuse everybody who does not give this name and password
set -euo pipefail
. "$(dirname "$0")/process.sh"

program() {
  PATH=$PATH:/usr/sbin command -v nats-server || { echo "nats-server is not installed" >&2; exit 3; }
}

version() {
  "$(program)" --version | sed 's/^nats-server: v//'
}

start() {
  local port='' data='' user='' password='' dir program
  process_arguments "port data user password" "$@"
  program=$(program)
  dir=$(mktemp -d)
  data=${data:-$dir/data}
  write_configuration() { # PORT
    echo "listen: \"127.0.0.1:$(free_port)\""
    # The streams of sessions carry this name.
    echo "server_name: postrider"
    echo "jetstream { store_dir: \"$data\" }"
    # A message that nobody acknowledged comes again after this time.
    echo "mqtt { host: \"127.0.0.1\", port: $1, ack_wait: \"2s\" }"
    [ -z "$user" ] || echo "authorization { user: \"$user\", password: \"$password\" }"
  }
  command_at() { # PORT
    write_configuration "$1" > "$dir/nats.conf"
    COMMAND=("$program" -c "$dir/nats.conf")
  }
  process_start "$dir" "$port" 'Server is ready'
}

process_main "$@"
