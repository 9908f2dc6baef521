#!/usr/bin/env bash
# An ejabberd of our own with mod_mqtt: on a free port of the loopback, in a throw-away directory, as the user who asks.
#
# usage: tests/brokers/ejabberd.sh start [--port N] [--data DIR] [--user NAME --password TEXT]
#        tests/brokers/ejabberd.sh stop|kill DIR
#        tests/brokers/ejabberd.sh version
#
# start prints one line, `port=N pid=N dir=DIR`, once the broker answers; the log is DIR/log.
# stop ends the process of DIR by its id, waits until it is gone, and removes DIR; kill does so like a crash.
#   --port      this port, not a free one (to start a broker again where it was)
#   --data      keep users, sessions and retained messages in this directory
#   --user      the only user; without it, that is guest with the password guest (it lets nobody in without a name)
set -euo pipefail
. "$(dirname "$0")/process.sh"
START_TENTHS_MAX=300

folder() {
  local folder
  for folder in /usr/lib/*/ejabberd-[0-9]* /usr/lib/ejabberd-[0-9]* /usr/lib/erlang/lib/ejabberd-[0-9]*; do
    if [ -d "$folder/ebin" ]; then echo "$folder"; return 0; fi
  done
  echo "ejabberd is not installed" >&2
  exit 3
}

version() {
  folder | sed 's,.*/ejabberd-,,'
}

start() {
  local port='' data='' user=guest password=guest dir folder nodes
  process_arguments "port data user password" "$@"
  folder=$(folder)
  dir=$(mktemp -d)
  data=${data:-$dir/data}
  mkdir -p "$data"
  write_configuration() { # PORT
    cat <<END
hosts: [localhost]
auth_method: [internal]
listen:
  - {port: $1, ip: "127.0.0.1", module: mod_mqtt, backlog: 1000}
modules:
  mod_mqtt:
    access_publish: {"#": [{allow: all}]}
    access_subscribe: {"#": [{allow: all}]}
END
  }
  command_at() { # PORT
    nodes=$(free_port)
    write_configuration "$1" > "$dir/ejabberd.yml"
    # No epmd: a node without peers needs no names. The user is there before the log says so.
    COMMAND=(env "HOME=$dir" "ERL_LIBS=$(dirname "$folder")" "EJABBERD_CONFIG_PATH=$dir/ejabberd.yml"
      "EJABBERD_LOG_PATH=$dir/ejabberd.log" ERL_CRASH_DUMP=/dev/null
      erl -noinput -noshell -sname postrider@localhost -setcookie postrider -start_epmd false
      -kernel inet_dist_use_interface '{127,0,0,1}' -erl_epmd_port "$nodes" +S 2:2 +sbwt none
      -mnesia dir "\"$data\"" -s ejabberd
      -eval "{ok, _} = application:ensure_all_started(ejabberd),
        ejabberd_auth:try_register(<<\"$user\">>, <<\"localhost\">>, <<\"$password\">>),
        true = ejabberd_auth:check_password(<<\"$user\">>, <<>>, <<\"localhost\">>, <<\"$password\">>),
        io:format(\"the user is registered~n\").")
  }
  process_start "$dir" "$port" 'the user is registered'
}

process_main "$@"
