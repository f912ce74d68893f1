#!/bin/sh
# Installs Debian's iproute2 for the hosts that tests make (tests/hosts), where this runs as root and there is none.
command -v ip > /dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "no command ip: the tests on hosts of their own are skipped (they fail where CI is set). Install it as root." >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq && apt-get install -y -qq --no-install-recommends iproute2 > /dev/null
