#!/usr/bin/env bash
# An ActiveMQ Classic of our own with its MQTT connector: on a free port of the loopback, in a throw-away directory, as
# the user who asks.
#
# usage: tests/brokers/activemq.sh start [--port N] [--data DIR] [--user NAME --password TEXT]
#        tests/brokers/activemq.sh stop|kill DIR
#        tests/brokers/activemq.sh version
#
# start prints one line, `port=N pid=N dir=DIR`, once the broker answers; the log is DIR/log.
# stop ends the process of DIR by its id, waits until it is gone, and removes DIR; kill does so like a crash.
#   --port      this port, not a free one (to start a broker again where it was)
#   --data      keep sessions and retained messages in this directory
#   --user      refuse everybody who does not give this name and password
set -euo pipefail
. "$(dirname "$0")/process.sh"
START_TENTHS_MAX=600

JAVA_FOLDER=/usr/share/java

# Debian's package has the connector, but not the decoder that it needs: that is libmqtt-client-java.
class_path() {
  local home=/usr/share/activemq/lib jar
  command -v java > /dev/null || { echo "java is not installed" >&2; exit 3; }
  [ -d "$home/optional" ] || { echo "activemq is not installed" >&2; exit 3; }
  printf '%s:' "$home"/*.jar "$home"/optional/*.jar
  for jar in mqtt-client hawtdispatch hawtdispatch-transport; do
    [ -e "$JAVA_FOLDER/$jar.jar" ] || { echo "libmqtt-client-java is not installed" >&2; exit 3; }
    printf '%s:' "$JAVA_FOLDER/$jar.jar"
  done
}

version() {
  class_path > /dev/null
  # shellcheck disable=SC2016 # a field of dpkg-query
  dpkg-query -W -f '${Version}' activemq | sed 's/[+-].*/\n/'
}

start() {
  local port='' data='' user='' password='' dir path
  process_arguments "port data user password" "$@"
  path=$(class_path)
  dir=$(mktemp -d)
  data=${data:-$dir/data}
  write_configuration() { # PORT
    local plugins=''
    [ -z "$user" ] || plugins="<plugins><simpleAuthenticationPlugin anonymousAccessAllowed=\"false\"><users>
    <authenticationUser username=\"$user\" password=\"$password\" groups=\"users\"/>
   </users></simpleAuthenticationPlugin></plugins>"
    cat <<END
<beans xmlns="http://www.springframework.org/schema/beans" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:schemaLocation="http://www.springframework.org/schema/beans http://www.springframework.org/schema/beans/spring-beans.xsd http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
 <broker xmlns="http://activemq.apache.org/schema/core" brokerName="postrider" dataDirectory="$data" useJmx="false"
  advisorySupport="false">
  <persistenceAdapter><kahaDB directory="$data/kahadb"/></persistenceAdapter>
  $plugins
  <transportConnectors><transportConnector name="mqtt" uri="mqtt://127.0.0.1:$1"/></transportConnectors>
 </broker>
</beans>
END
  }
  command_at() { # PORT
    write_configuration "$1" > "$dir/activemq.xml"
    printf 'log4j.%s\n' rootLogger=INFO,console appender.console=org.apache.log4j.ConsoleAppender \
      appender.console.layout=org.apache.log4j.PatternLayout 'appender.console.layout.ConversionPattern=%d %p %m%n' \
      > "$dir/log4j.properties"
    COMMAND=(java -Xmx512m "-Dactivemq.data=$data" "-Dactivemq.home=$dir" "-Dactivemq.base=$dir"
      "-Dactivemq.conf=$dir" "-Djava.io.tmpdir=$dir"
      "-Dlog4j.configuration=file:$dir/log4j.properties" -cp "$path" org.apache.activemq.console.Main start
      "xbean:file:$dir/activemq.xml")
  }
  process_start "$dir" "$port" 'Apache ActiveMQ .* started'
}

process_main "$@"
