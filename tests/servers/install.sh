#!/bin/sh
# Installs the servers that tests and benchmarks start by themselves. Does nothing where they are there already.
set -eu

missing=
command -v redis-server >/dev/null || missing="$missing redis-server"
command -v rabbitmq-server >/dev/null || [ -x /usr/sbin/rabbitmq-server ] || missing="$missing rabbitmq-server"
command -v nats-server >/dev/null || missing="$missing nats-server"
command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || missing="$missing mosquitto"
command -v mosquitto_sub >/dev/null || missing="$missing mosquitto-clients"
command -v promtool >/dev/null || missing="$missing prometheus"
command -v java >/dev/null || missing="$missing default-jre-headless"
command -v chromium >/dev/null || missing="$missing chromium"
jars=$(cd "$(dirname "$0")/../.." && pwd)/.services/kafka-4.1.1
[ -e "$jars" ] || command -v mvn >/dev/null || missing="$missing maven"

if [ -n "$missing" ]; then
    if ! command -v apt-get >/dev/null; then
        echo "make services installs with apt; here, install$missing yourself" >&2
        exit 1
    fi
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    # shellcheck disable=SC2086 - a list of words
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

if [ ! -e "$jars" ]; then
    mvn -q -B -f "$(dirname "$0")/kafka/pom.xml" dependency:copy-dependencies -DoutputDirectory="$jars.part"
    mv "$jars.part" "$jars"
fi
