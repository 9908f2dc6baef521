#!/usr/bin/env bash
# An aedes of our own: on a free port of the loopback, in a throw-away directory, as the user who asks.
#
# usage: tests/brokers/aedes.sh start [--port N] [--data DIR] [--user NAME --password TEXT]
#        tests/brokers/aedes.sh stop|kill DIR
#        tests/brokers/aedes.sh version
#
# start prints one line, `port=N pid=N dir=DIR`, once the broker answers; the log is DIR/log. It keeps everything in
# memory. The packages are those of $AEDES_MODULES, a node_modules directory; tests/lanes/aedes.sh makes one, by hand:
#   cp tests/brokers/aedes/package*.json SOMEWHERE && cd SOMEWHERE && npm ci
# stop ends the process of DIR by its id, waits until it is gone, and removes DIR; kill does so like a crash.
#   --port      this port, not a free one (to start a broker again where it was)
#   --data      taken, as by the other brokers, and not used
#   --user      refuse everybody who does not give this name and password
set -euo pipefail
. "$(dirname "$0")/process.sh"

SOURCE=$(cd "$(dirname "$0")/aedes" && pwd)

modules() {
  local modules
  command -v node > /dev/null || { echo "node is not installed" >&2; exit 3; }
  for modules in "${AEDES_MODULES:-}" "${CARGO_TARGET_DIR:-$SOURCE/../../../target}"/lanes/aedes-*/node_modules; do
    if [ -d "$modules/aedes" ]; then echo "$modules"; return 0; fi
  done
  echo "the packages of aedes are not installed: run tests/lanes/aedes.sh, or set AEDES_MODULES" >&2
  exit 3
}

version() {
  local modules
  modules=$(modules)
  node -p 'require(process.argv[1]).version' "$(cd "$modules" && pwd)/aedes/package.json"
}

start() {
  local port='' data='' user='' password='' dir modules
  # shellcheck disable=SC2034 # data is not used
  process_arguments "port data user password" "$@"
  modules=$(modules)
  dir=$(mktemp -d)
  # Modules are looked for beside the file that imports them.
  cp "$SOURCE/broker.mjs" "$dir"
  ln -s "$(cd "$modules" && pwd)" "$dir/node_modules"
  command_at() { # PORT
    COMMAND=(node "$dir/broker.mjs" "$1")
    [ -z "$user" ] || COMMAND+=("$user" "$password")
  }
  process_start "$dir" "$port" '^listening on '
}

process_main "$@"
