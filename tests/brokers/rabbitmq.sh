#!/usr/bin/env bash
# A RabbitMQ of our own with its MQTT plugin: on free ports of the loopback, in a throw-away directory, as the user who
# asks. It takes 12 to 18 seconds to start (3.10).
#
# usage: tests/brokers/rabbitmq.sh start [--port N] [--data DIR] [--user NAME --password TEXT] [--websocket N]
#        tests/brokers/rabbitmq.sh stop|kill DIR
#        tests/brokers/rabbitmq.sh version
#
# start prints one line, `port=N pid=N dir=DIR`, once the broker answers; the log is DIR/log.
# stop ends the processes of DIR by their ids, waits until they are gone, and removes DIR; kill does so like a crash.
#   --port      this port, not a free one (to start a broker again where it was)
#   --data      keep sessions and retained messages in this directory
#   --user      the only user; without it, that is guest with the password guest
#   --websocket a port for MQTT over WebSocket too, at the path /ws
set -euo pipefail
. "$(dirname "$0")/process.sh"
START_TENTHS_MAX=900
STOP_TENTHS_MAX=300

# Debian's programs in the path are wrappers that change the user; these run as whoever calls.
folder() {
  local script
  for script in /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server; do
    if [ -x "$script" ]; then dirname "$script"; return 0; fi
  done
  echo "rabbitmq-server is not installed" >&2
  exit 3
}

version() {
  folder | sed 's,.*/rabbitmq_server-\([^/]*\)/sbin$,\1,'
}

start() {
  local port='' data='' user=guest password=guest websocket='' dir sbin names
  process_arguments "port data user password websocket" "$@"
  sbin=$(folder)
  dir=$(mktemp -d)
  data=${data:-$dir/data}
  mkdir -p "$data"
  write_configuration() { # PORT
    echo "listeners.tcp.1 = 127.0.0.1:$(free_port)"
    echo "distribution.listener.interface = 127.0.0.1"
    local port_of_nodes
    port_of_nodes=$(free_port)
    echo "distribution.listener.port_range.min = $port_of_nodes"
    echo "distribution.listener.port_range.max = $port_of_nodes"
    echo "mqtt.listeners.tcp.1 = 127.0.0.1:$1"
    [ -z "$websocket" ] || printf 'web_mqtt.tcp.ip = 127.0.0.1\nweb_mqtt.tcp.port = %s\n' "$websocket"
    echo "default_user = $user"
    echo "default_pass = $password"
    # 4 has no such key: there, nobody is let in without a name unless `anonymous_login_user` says so.
    case $(version) in 3.*) echo "mqtt.allow_anonymous = false" ;; *) echo "anonymous_login_user = none" ;; esac
    echo "log.console = true"
    echo "log.console.level = info"
  }
  # Erlang would start this itself, as a process that outlives the broker and whose id nobody knows.
  start_names() { # PORT
    end_helpers "$dir"
    nohup epmd -address 127.0.0.1 -port "$1" > "$dir/epmd.log" 2>&1 < /dev/null &
    echo $! > "$dir/helpers"
    local tenth
    for ((tenth = 0; tenth < 100; tenth++)); do
      port_answers "$1" && return 0
      sleep 0.1
    done
    return 1
  }
  command_at() { # PORT
    names=$(free_port)
    start_names "$names" || true
    echo "[rabbitmq_mqtt${websocket:+,rabbitmq_web_mqtt}]." > "$dir/enabled_plugins"
    write_configuration "$1" > "$dir/rabbitmq.conf"
    # With RABBITMQ_ALLOW_INPUT the script becomes the Erlang machine, so that its id is the broker's.
    COMMAND=(env "HOME=$dir" RABBITMQ_ALLOW_INPUT=1 RABBITMQ_NODENAME=postrider@localhost
      "RABBITMQ_CONFIG_FILE=$dir/rabbitmq.conf" "RABBITMQ_ENABLED_PLUGINS_FILE=$dir/enabled_plugins"
      "RABBITMQ_MNESIA_BASE=$data" "RABBITMQ_LOG_BASE=$dir/logs" RABBITMQ_CONF_ENV_FILE=/dev/null
      "RABBITMQ_PID_FILE=$dir/rabbitmq.pid" ERL_EPMD_ADDRESS=127.0.0.1 "ERL_EPMD_PORT=$names" ERL_CRASH_DUMP=/dev/null
      "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-noinput -setcookie postrider +S 2:2 +sbwt none"
      "$sbin/rabbitmq-server")
  }
  process_start "$dir" "$port" 'Server startup complete'
}

process_main "$@"
