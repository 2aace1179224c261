#!/bin/sh
# Looks whether an address can be listened on, before something that takes minutes begins: `make demo`.
#
#   port-is-free.sh [HOST:PORT]
#
# Without an argument: the address that `counterfoil up` takes by itself. Exit: 0 it is free, or there is no telling from
# here (`up` looks again); 1 it is in use, and the text says what to do.
set -eu

address=${1:-${COUNTERFOIL_HTTP__ADDRESS:-}}
if [ -z "$address" ]; then
    # A configuration may name another, and reading TOML is not for a shell.
    if [ -e counterfoil.toml ] || [ -n "${COUNTERFOIL_CONFIG:-}" ]; then exit 0; fi
    address=127.0.0.1:8080
fi
# Part of every Debian and macOS; where it is not, or knows better than we what is wrong with the address, go on.
command -v perl >/dev/null 2>&1 || exit 0
if perl - "$address" <<'EOF' 2>/dev/null; then
use Errno;
use Socket qw(:all);
my ($host, $port) = $ARGV[0] =~ /^\[?(.*?)\]?:([0-9]+)$/ or exit 1;
exit 1 if $port == 0;
my ($failed, $found) = getaddrinfo($host, $port, {flags => AI_NUMERICHOST, socktype => SOCK_STREAM});
exit 1 if $failed;
socket(my $listener, $found->{family}, SOCK_STREAM, 0) or exit 1;
setsockopt($listener, SOL_SOCKET, SO_REUSEADDR, 1);
exit 1 if bind($listener, $found->{addr}) && listen($listener, 1);
exit($!{EADDRINUSE} ? 0 : 1);
EOF
    echo "$address is in use by another program: end that one, or name another: make demo ADDRESS=127.0.0.1:8090" >&2
    exit 1
fi
