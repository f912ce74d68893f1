#!/bin/sh
# Installs Debian's RabbitMQ for benchmarks/rivals, where this runs as root and there is none.
[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "no RabbitMQ: EWMS cannot be measured. Install it as root." >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq && apt-get install -y -qq --no-install-recommends rabbitmq-server > /dev/null
