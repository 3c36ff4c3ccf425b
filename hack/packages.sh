#!/bin/sh
# Installs the Debian packages that the local stack and the tests need. Does nothing when all is there.
set -eu

have() { command -v "$1" >/dev/null 2>&1; }

# at_least MINIMUM FOUND: compares version numbers.
at_least() { [ -n "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

go_version() { go version 2>/dev/null | sed -n 's/^go version go\([0-9.]*\).*/\1/p'; }
java_version() { java -version 2>&1 | sed -n '1s/.*version "\([0-9.]*\).*/\1/p'; }

docker_runs() { have docker && docker info >/dev/null 2>&1; }

# Prints the packages for what is missing.
missing_packages() {
  at_least 17 "$(java_version)" || echo default-jre-headless
  at_least 1.24 "$(go_version)" || echo golang-go
  have mvn || echo maven
  have npm || echo npm
  have openssl || echo openssl
  have setpriv || echo util-linux
  python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
  have psql && have pgbench || echo postgresql-client
  docker_runs && return
  have containerd || echo containerd
  have runc || echo runc
  have ip || echo iproute2
  have iptables || echo iptables
  [ -x /usr/lib/cni/bridge ] || echo containernetworking-plugins
}

# What apt could not give in a version that is new enough.
still_missing() {
  at_least 17 "$(java_version)" || echo 'java 17 or newer'
  at_least 1.24 "$(go_version)" || echo 'go 1.24 or newer'
  have mvn || echo mvn
  have npm || echo npm
}

packages=$(missing_packages)
if [ -z "$packages" ]; then
  echo 'packages: all there'
  exit 0
fi
echo "packages: installing" $packages
if [ "$(id -u)" -ne 0 ] || ! have apt-get; then
  echo 'packages: needs root and apt-get; please install them by hand' >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends $packages >/dev/null
missing=$(still_missing)
if [ -n "$missing" ]; then
  echo "packages: still missing, please install by hand:" >&2
  echo "$missing" | sed 's/^/  /' >&2
  exit 1
fi
