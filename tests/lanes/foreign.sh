# Sourced by the lanes of other people's clients, after lane.sh: their packages, and the brokers they are played at.
#
#   foreign_arguments "$@"       --port N, --broker NAME, --only TEXT
#   foreign_begin NAME           begins the lane; what comes of all cases at our broker is kept
#   foreign_python               sets PYTHON, which has the packages of tests/lanes/python/requirements.txt
#   foreign_node [PREFIX FOLDER] sets NODE_PATH to the packages of FOLDER/package-lock.json; without arguments, of
#                                tests/lanes/javascript
#   foreign_brokers COMMAND...   plays COMMAND --port N at our broker with one hub and with two, or at the one asked for
#
# Packages are kept below the cargo target directory, by the hash of the file that pins them.

FOREIGN_SECONDS_MAX=180 # for all cases of a client against one broker
foreign_port='' foreign_broker='' foreign_only=''

foreign_arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
      --port) foreign_port=$2 ;;
      --broker) foreign_broker=$2 ;;
      --only) foreign_only=$2 ;;
      *) echo "unknown argument $1; known: --port N, --broker mosquitto, --only TEXT" >&2; exit 2 ;;
    esac
    shift 2
  done
}

foreign_begin() { # NAME
  lane_begin "$1"
  [ -n "$foreign_port$foreign_broker$foreign_only" ] || lane_keeps
}

# Makes the directory PREFIX-HASH by a function once and sets `kept`; half-made ones are made again.
foreign_keep() { # PREFIX PINS FUNCTION
  local hash log=$RUN/packages.log
  hash=$(sha256sum < "$2") || exit 1
  kept=$CARGO_TARGET_DIR/lanes/$1-${hash:0:16}
  if [ ! -e "$kept/complete" ]; then
    rm -rf "$CARGO_TARGET_DIR/lanes/$1-"*
    mkdir -p "$kept"
    if "$3" "$kept" > "$log" 2>&1; then touch "$kept/complete"; else
      cat "$log"
      lane_not_run "packages cannot be installed: $(grep -iE 'error|cannot|not found' "$log" | tail -n 1)"
    fi
  fi
}

foreign_python() {
  command -v python3 > /dev/null || lane_not_run "python3 is not installed"
  make() {
    python3 -m venv "$1" &&
      "$1/bin/pip" install --disable-pip-version-check --require-hashes -r tests/lanes/python/requirements.txt
  }
  foreign_keep python tests/lanes/python/requirements.txt make
  PYTHON=$kept/bin/python
  export PYTHONDONTWRITEBYTECODE=1
}

# The version of a Python package.
foreign_pin() { # PACKAGE
  sed -n "s/^$1==\([^ ]*\) .*/\1/p" tests/lanes/python/requirements.txt
}

foreign_node() { # [PREFIX FOLDER]
  local prefix=${1:-node} folder=${2:-tests/lanes/javascript}
  command -v npm > /dev/null || lane_not_run "node and npm are not installed"
  make() {
    cp "$folder/package.json" "$folder/package-lock.json" "$1" &&
      (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund)
  }
  foreign_keep "$prefix" "$folder/package-lock.json" make
  export NODE_PATH=$kept/node_modules
}

foreign_brokers() { # COMMAND...
  local arguments=(--only "$foreign_only") cases=(lane_cases "$FOREIGN_SECONDS_MAX" "$@")
  if [ -n "$foreign_port" ]; then
    "${cases[@]}" "${arguments[@]}" --theirs --port "$foreign_port"
  elif [ -n "$foreign_broker" ] && [ "$foreign_broker" != postrider ]; then
    lane_broker "$foreign_broker"
    "${cases[@]}" "${arguments[@]}" --theirs --port "$port"
  else
    lane_program
    lane_broker postrider
    "${cases[@]}" "${arguments[@]}" --port "$port"
    lane_broker postrider --hubs 2
    "${cases[@]}" "${arguments[@]}" --port "$port" --suffix ", two hubs"
  fi
}
