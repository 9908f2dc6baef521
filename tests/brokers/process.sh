# Sourced by the scripts of this folder: one broker process, from a free port to its end. A script says what its broker
# is like by functions, and ends with `process_main "$@"`:
#
#   start ARGUMENT...   starts it, by `process_start`
#   version             prints the version, or ends with 3 and the reason why there is none

START_TENTHS_MAX=100 # how long a broker may take to answer
STOP_TENTHS_MAX=100  # how long it may take to end after SIGTERM; then SIGKILL

# Does what the command line asks for.
process_main() { # start|stop|kill|version ARGUMENT...
  case ${1:-}:$# in
    start:*) shift; start "$@" ;;
    stop:2) process_stop "$2" ;;
    kill:2) process_kill "$2" ;;
    version:1) version ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
}

# Reads arguments `--NAME VALUE` into the caller's variables of these names.
process_arguments() { # NAMES ARGUMENT...
  local names=" $1 " name; shift
  while [ $# -gt 0 ]; do
    name=${1#--}
    [[ $1 == --* && $names == *" $name "* ]] || { echo "unknown argument $1; known without --:$names" >&2; exit 2; }
    [ $# -ge 2 ] || { echo "$1 needs a value" >&2; exit 2; }
    printf -v "$name" %s "$2"
    shift 2
  done
}

# Whether something listens on a port of the loopback.
port_answers() { # PORT
  (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null
}

# Whether a process runs; one that has ended and that nobody has waited for does not.
process_runs() { # PID
  kill -0 "$1" 2> /dev/null && ! grep -qs '^State:[[:space:]]*Z' "/proc/$1/status"
}

# A port below those that the system gives to outgoing connections: one of these could take the port of a broker that is
# away for a moment, even the one that looks for it.
any_port() {
  echo $((20000 + RANDOM % 12000))
}

# A port of the loopback that nothing listens on.
free_port() {
  local port
  while port=$(any_port); port_answers "$port"; do :; done
  echo "$port"
}

# Starts a broker on PORT, or on a free one if PORT is empty: calls `command_at PORT`, which sets COMMAND, until a
# process says READY (a pattern of its log) and its port answers. Prints `port=N pid=N dir=DIR`.
process_start() { # DIR PORT READY
  local dir=$1 wanted=$2 ready=$3 port pid attempt tenth
  for attempt in 1 2 3 4 5 6 7 8; do
    port=${wanted:-$(any_port)}
    if [ -z "$wanted" ] && port_answers "$port"; then continue; fi
    command_at "$port"
    : > "$dir/log"
    nohup "${COMMAND[@]}" > "$dir/log" 2>&1 < /dev/null &
    pid=$!
    for ((tenth = 0; tenth < START_TENTHS_MAX; tenth++)); do
      process_runs "$pid" || break
      if grep -q "$ready" "$dir/log" && port_answers "$port"; then
        echo "$pid" > "$dir/pid"
        echo "port=$port pid=$pid dir=$dir"
        return 0
      fi
      sleep 0.1
    done
    kill -9 "$pid" 2> /dev/null || true
    wait "$pid" 2> /dev/null || true
    end_helpers "$dir"
    [ "$tenth" -lt "$START_TENTHS_MAX" ] || break
    # A port in TIME_WAIT or taken by somebody else in the meantime: try again.
    [ "$attempt" -lt 8 ] && sleep 0.1
  done
  echo "the broker did not start:" >&2
  cat "$dir/log" >&2
  rm -rf "$dir"
  return 1
}

# Ends the process of DIR and removes DIR.
process_stop() { # DIR
  local dir=$1 pid tenth
  pid=$(cat "$dir/pid")
  kill "$pid" 2> /dev/null || true
  for ((tenth = 0; tenth < STOP_TENTHS_MAX; tenth++)); do
    process_runs "$pid" || break
    sleep 0.1
  done
  process_kill "$dir"
}

# Ends the process of DIR as a crash would and removes DIR. What stands in a directory of its own (--data) stays.
process_kill() { # DIR
  local dir=$1 pid
  pid=$(cat "$dir/pid")
  while process_runs "$pid"; do
    kill -9 "$pid" 2> /dev/null || true
    sleep 0.02
  done
  end_helpers "$dir"
  # A child of the broker may be writing its last words.
  rm -rf "$dir" 2> /dev/null || { sleep 0.5; rm -rf "$dir"; }
}

# Ends what a start script has started beside the broker: the ids in DIR/helpers.
end_helpers() { # DIR
  local pid
  [ -f "$1/helpers" ] || return 0
  while read -r pid; do kill -9 "$pid" 2> /dev/null || true; done < "$1/helpers"
  rm -f "$1/helpers"
}
