#!/usr/bin/env bash
# TLS, WebSocket and proxies of other people. Our client against Mosquitto and RabbitMQ, behind nginx and HAProxy, through
# microsocks and tinyproxy; Mosquitto's clients against our broker. Certificates are made by openssl for each run.
#
# usage: tests/lanes/transports.sh [--only TEXT]
. "$(dirname "$0")/lane.sh"
. tests/brokers/process.sh

only=''
PATH=$PATH:/usr/sbin

# --- means -------------------------------------------------------------------------------------------------------

# An authority, a server for this machine, a client; each key in the forms that there are.
certificates() {
  mkdir "$RUN/pki" && cd "$RUN/pki" || return 1
  openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj '/CN=Lane CA' -days 2
  openssl req -x509 -newkey rsa:2048 -nodes -keyout other.key -out other-ca.pem -subj '/CN=Other CA' -days 2
  issue server 'subjectAltName=DNS:localhost,DNS:broker.example,IP:127.0.0.1'
  issue client 'basicConstraints=CA:FALSE'
  # Without extensions: version 1, as many a small authority hands out.
  openssl req -newkey rsa:2048 -nodes -keyout first.key -out first.csr -subj /CN=first
  openssl x509 -req -in first.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out first.pem
  openssl pkcs8 -topk8 -in client.key -out client-locked.key -passout pass:secret
  openssl pkcs12 -export -in client.pem -inkey client.key -certfile ca.pem -out client.p12 -passout pass:secret
  openssl rsa -in client.key -traditional -out client-pkcs1.key
  openssl ecparam -name prime256v1 -genkey -noout -out ec.key
  openssl req -new -key ec.key -subj /CN=ec -out ec.csr
  openssl x509 -req -in ec.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out ec.pem
  cat server.pem server.key > server-both.pem
  mkdir trusted && cp ca.pem trusted/
  echo secret > password
  chmod -R a+rX "$RUN"
}

issue() { # NAME EXTENSION
  openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$1"
  openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out "$1.pem" -extfile <(echo "$2")
}

# Starts a server for the time of a case and waits until its port answers.
server() { # PORT COMMAND...
  local port=$1; shift
  "$@" > "$RUN/server.log" 2>&1 &
  wait_for port_answers "$port" || { cat "$RUN/server.log"; return 1; }
}

# Messages go there and come back: at each QoS a text, and a payload of some size.
exchange() { # ARGUMENT...
  local qos topic said=$RUN/said
  head -c 40000 /dev/urandom > "$RUN/payload"
  for qos in 0 1 2; do
    [ "$qos" -le "${QOS_MAX:-2}" ] || continue
    topic=lane/$RANDOM$RANDOM
    "$POSTRIDER_BIN" pub "$@" -t "$topic" -r -q "$qos" -f "$RUN/payload"
    timeout 30 "$POSTRIDER_BIN" sub "$@" -t "$topic" -q "$qos" -C 1 -N > "$said"
    cmp "$said" "$RUN/payload"
  done
}

# Our client ends with an error that says TEXT.
fails() { # TEXT ARGUMENT...
  local text=$1 said; shift
  if said=$("$POSTRIDER_BIN" pub "$@" -t lane -m x -q 1 2>&1); then echo "it works"; return 1; fi
  grep -qF "$text" <<< "$said" || { echo "expected: $text"; echo "said: $said"; return 1; }
}

# A Mosquitto with a listener of each kind: sets tls, mutual, ws, wss to their ports.
mosquitto_with_all() {
  tls=$(free_port) mutual=$(free_port) ws=$(free_port) wss=$(free_port)
  local secure="certfile $PKI/server.pem
keyfile $PKI/server.key"
  cat > "$RUN/listeners" << END
listener $tls 127.0.0.1
$secure
listener $mutual 127.0.0.1
$secure
cafile $PKI/ca.pem
require_certificate true
listener $ws 127.0.0.1
protocol websockets
listener $wss 127.0.0.1
protocol websockets
$secure
END
  lane_broker mosquitto --config "$RUN/listeners"
  plain=$port
}

# --- Mosquitto ---------------------------------------------------------------------------------------------------

mosquitto_tls() {
  local url=mqtts://localhost:$tls pin
  exchange --url "$url" --cafile "$PKI/ca.pem"
  exchange -h 127.0.0.1 -p "$tls" --capath "$PKI/trusted" --tls-version tlsv1.3
  exchange --url "$url" --cafile "$PKI/ca.pem" --servername broker.example
  exchange --url "$url" --insecure
  pin=$(openssl x509 -in "$PKI/server.pem" -noout -fingerprint -sha256)
  exchange --url "$url" --pin "${pin#*=}"
  pin=$(openssl x509 -in "$PKI/server.pem" -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64)
  exchange --url "$url" --pin "sha256//$pin"
  SSL_CERT_FILE=$PKI/ca.pem exchange --url "$url"
}

mosquitto_tls_errors() {
  local url=mqtts://localhost:$tls pin
  fails "signed by 'Lane CA', which is not trusted" --url "$url" --cafile "$PKI/other-ca.pem"
  fails "it is for localhost, broker.example, 127.0.0.1" --url "$url" --cafile "$PKI/ca.pem" --servername wrong.example
  pin=$(openssl x509 -in "$PKI/ca.pem" -noout -fingerprint -sha256)
  fails "is not the pinned one" --url "$url" --pin "${pin#*=}"
  fails "speaks no TLS" --url "mqtts://localhost:$plain" --cafile "$PKI/ca.pem"
  fails "${TLS_IN_PLAIN:-TLS}" --url "mqtt://localhost:$tls"
  fails "'tlsv1.1' is not offered" --url "$url" --tls-version tlsv1.1
}

mosquitto_client_certificates() {
  local url=mqtts://localhost:$mutual trust=(--cafile "$PKI/ca.pem") form
  for form in client client-pkcs1; do
    exchange --url "$url" "${trust[@]}" --cert "$PKI/client.pem" --key "$PKI/$form.key"
  done
  exchange --url "$url" "${trust[@]}" --cert "$PKI/ec.pem" --key "$PKI/ec.key"
  exchange --url "$url" "${trust[@]}" --cert "$PKI/first.pem" --key "$PKI/first.key"
  exchange --url "$url" "${trust[@]}" --cert "$PKI/client.pem" --key "$PKI/client-locked.key" --keypass-file "$PKI/password"
  POSTRIDER_KEYPASS=secret exchange --url "$url" "${trust[@]}" --pkcs12 "$PKI/client.p12"
}

mosquitto_client_certificate_errors() {
  local url=mqtts://localhost:$mutual trust=(--cafile "$PKI/ca.pem")
  fails "wants a client certificate" --url "$url" "${trust[@]}"
  fails "does not accept our client certificate" --url "$url" "${trust[@]}" --cert "$PKI/other-ca.pem" --key "$PKI/other.key"
  fails "does not match" --url "$url" "${trust[@]}" --cert "$PKI/client.pem" --key "$PKI/server.key"
  fails "cannot be opened with this password" --url "$url" "${trust[@]}" --pkcs12 "$PKI/client.p12" --keypass wrong
}

mosquitto_websocket() {
  exchange --url "ws://127.0.0.1:$ws/mqtt"
  exchange -h 127.0.0.1 -p "$ws" --ws --ws-path / --ws-header 'X-Lane: yes'
  exchange --url "wss://localhost:$wss/mqtt" --cafile "$PKI/ca.pem"
}

# --- others ------------------------------------------------------------------------------------------------------

nginx_in_front() { # WEBSOCKET-PORT
  local front; front=$(free_port)
  mkdir -p "$RUN/nginx"
  cat > "$RUN/nginx.conf" << END
daemon off; master_process off; pid $RUN/nginx/pid; error_log $RUN/nginx/error;
events {}
http {
  access_log off; client_body_temp_path $RUN/nginx/a; proxy_temp_path $RUN/nginx/b; fastcgi_temp_path $RUN/nginx/c;
  uwsgi_temp_path $RUN/nginx/d; scgi_temp_path $RUN/nginx/e;
  server {
    listen 127.0.0.1:$front ssl; ssl_certificate $PKI/server.pem; ssl_certificate_key $PKI/server.key;
    location /broker {
      proxy_pass http://127.0.0.1:$1/mqtt; proxy_http_version 1.1;
      proxy_set_header Upgrade \$http_upgrade; proxy_set_header Connection upgrade;
    }
  }
}
END
  server "$front" nginx -c "$RUN/nginx.conf" -e "$RUN/nginx/error"
  exchange --url "wss://localhost:$front/broker" --cafile "$PKI/ca.pem"
  fails "404 Not Found" --url "wss://localhost:$front/elsewhere" --cafile "$PKI/ca.pem"
  fails "wss://" --url "ws://localhost:$front/broker"
}

haproxy_in_front() { # PORT
  local front; front=$(free_port)
  cat > "$RUN/haproxy.conf" << END
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen mqtt
  bind 127.0.0.1:$front ssl crt $PKI/server-both.pem ca-file $PKI/ca.pem verify required alpn mqtt
  server broker 127.0.0.1:$1
END
  server "$front" haproxy -db -f "$RUN/haproxy.conf"
  exchange --url "mqtts://localhost:$front" --cafile "$PKI/ca.pem" --cert "$PKI/client.pem" --key "$PKI/client.key" --tls-alpn mqtt
  fails "wants a client certificate" --url "mqtts://localhost:$front" --cafile "$PKI/ca.pem"
}

# Every transport through one proxy.
through() { # PROXY
  exchange --url "mqtt://localhost:$plain" --proxy "$1"
  exchange --url "mqtts://localhost:$tls" --cafile "$PKI/ca.pem" --proxy "$1"
  exchange --url "ws://localhost:$ws/mqtt" --proxy "$1"
  exchange --url "wss://localhost:$wss/mqtt" --cafile "$PKI/ca.pem" --proxy "$1"
}

socks() {
  local at; at=$(free_port)
  server "$at" microsocks -i 127.0.0.1 -p "$at" -u ann -P secret
  through "socks5h://ann:secret@127.0.0.1:$at"
  fails "does not accept this user name and password" --url "mqtt://localhost:$plain" --proxy "socks5h://ann:wrong@127.0.0.1:$at"
  fails "without a user name and password" --url "mqtt://localhost:$plain" --proxy "socks5h://127.0.0.1:$at"
  fails "cannot reach 127.0.0.1:" --url "mqtt://127.0.0.1:$(free_port)" --proxy "socks5h://ann:secret@127.0.0.1:$at"
}

http_connect() {
  local at; at=$(free_port)
  printf 'Port %s\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nBasicAuth ann secret\nLogLevel Critical\n' "$at" > "$RUN/tinyproxy.conf"
  server "$at" tinyproxy -d -c "$RUN/tinyproxy.conf"
  through "http://ann:secret@127.0.0.1:$at"
  fails "does not accept this user name and password" --url "mqtt://localhost:$plain" --proxy "http://ann:wrong@127.0.0.1:$at"
  fails "the proxy http://127.0.0.1:$at" --url "mqtt://127.0.0.1:$(free_port)" --proxy "http://ann:secret@127.0.0.1:$at"
}

rabbitmq_websocket() {
  local ws; ws=$(free_port)
  lane_broker rabbitmq --websocket "$ws"
  # It answers QoS 2 as if it were 1.
  QOS_MAX=1 exchange --url "ws://127.0.0.1:$ws/ws" -u guest -P guest -V mqttv311
  fails "404" --url "ws://127.0.0.1:$ws/mqtt" -u guest -P guest
  lane_stop rabbitmq "$dir"
}

# --- our broker --------------------------------------------------------------------------------------------------

our_broker() {
  tls=$(free_port) ws=$(free_port) wss=$(free_port)
  lane_broker postrider --hubs 2 --listen "mqtts://127.0.0.1:$tls" --listen "ws://127.0.0.1:$ws/mqtt" \
    --listen "wss://127.0.0.1:$wss/mqtt" --cert "$PKI/server.pem" --key "$PKI/server.key"
  plain=$port
  wait_for port_answers "$wss"
}

their_clients() {
  head -c 300000 /dev/urandom > "$RUN/payload"
  mosquitto_pub -h localhost -p "$tls" --cafile "$PKI/ca.pem" -t theirs -r -q 2 -f "$RUN/payload"
  timeout 30 mosquitto_sub -h localhost -p "$tls" --cafile "$PKI/ca.pem" -t theirs -q 2 -C 1 -N > "$RUN/said"
  cmp "$RUN/said" "$RUN/payload"
}

our_clients() {
  exchange --url "mqtts://localhost:$tls" --cafile "$PKI/ca.pem"
  exchange --url "ws://localhost:$ws"
  exchange --url "wss://localhost:$wss" --cafile "$PKI/ca.pem"
}

# --- run ---------------------------------------------------------------------------------------------------------

chosen() { # TEXT FUNCTION ARGUMENT...
  if [[ $1 == *"$only"* ]]; then lane_case "$@"; fi
}

[ "${1:-}" != --only ] || only=$2
lane_begin transports
for program in haproxy microsocks mosquitto mosquitto_pub nginx openssl tinyproxy; do
  command -v "$program" > /dev/null || lane_not_run "$program is not installed"
done
lane_program
PKI=$RUN/pki
(set -e; certificates) > "$RUN/pki.log" 2>&1 || { cat "$RUN/pki.log"; exit 1; }
mosquitto_with_all
chosen "Mosquitto: TLS, whom to trust" mosquitto_tls
chosen "Mosquitto: TLS, errors told apart" mosquitto_tls_errors
chosen "Mosquitto: client certificates in every form" mosquitto_client_certificates
chosen "Mosquitto: client certificates, errors told apart" mosquitto_client_certificate_errors
chosen "Mosquitto: WebSocket, plain and secure" mosquitto_websocket
chosen "nginx: TLS and WebSocket in front of Mosquitto" nginx_in_front "$ws"
chosen "HAProxy: TLS with client certificates in front of Mosquitto" haproxy_in_front "$plain"
chosen "microsocks: every transport through SOCKS5" socks
chosen "tinyproxy: every transport through HTTP CONNECT" http_connect
if tests/brokers/rabbitmq.sh version > /dev/null 2>&1; then
  chosen "RabbitMQ: WebSocket" rabbitmq_websocket
else
  lane_skip "RabbitMQ: WebSocket" "rabbitmq-server is not installed"
fi
our_broker
chosen "our broker: Mosquitto's clients over TLS" their_clients
chosen "our broker: our client over each transport" our_clients
chosen "our broker: nginx in front of its WebSocket" nginx_in_front "$ws"
chosen "our broker: HAProxy in front" haproxy_in_front "$plain"
lane_end
