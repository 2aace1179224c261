#!/bin/sh
# Installs what Counterfoil needs on a developer's machine and is not there yet: a C compiler, PostgreSQL 15 to 17,
# Redis and NATS (2.10 or newer); with --tests also PgBouncer, and a Python environment with the packages the tests use.
#
# Contract: never asks, prints nothing when nothing is missing, may be run again at any time, and leaves no server
# running, enabled or configured. Debian, Ubuntu and macOS (Homebrew). What Debian can provide as a plain binary goes
# under .counterfoil/tools and does not touch the system. Every download is checked by apt's signatures or by pip.
#
# Exit: 0 all is there; 3 something is missing and cannot be installed from here (the text says what to do).
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
tools=$root/.counterfoil/tools
log=$root/.counterfoil/setup.log
PATH=$tools/bin:$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

nats_minimum=2.10.0
# Where a NATS server of at least that version is packaged; apt checks the archive's signature.
debian_mirror=${COUNTERFOIL_DEBIAN_MIRROR:-http://deb.debian.org/debian}
debian_suite=trixie
debian_keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { printf 'setup: %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }
give_up() { say "$*"; exit 3; }

# Runs a command with its output in the log; on failure shows the end of it.
quietly() {
    mkdir -p "$root/.counterfoil"
    if ! "$@" >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        give_up "failed: $* (full output: $log)"
    fi
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

can_be_root() { [ "$(id -u)" -eq 0 ] || { have sudo && sudo -n true 2>/dev/null; }; }

# --- what is there -----------------------------------------------------------------------------------------------

have_postgres() {
    for bin in "$(dirname -- "$(command -v postgres || echo /nowhere/postgres)")" \
        /usr/lib/postgresql/1[567]/bin /opt/homebrew/opt/postgresql@1[567]/bin /usr/local/opt/postgresql@1[567]/bin; do
        if ! { [ -x "$bin/initdb" ] && [ -x "$bin/postgres" ]; }; then continue; fi
        case $("$bin/postgres" --version) in *' 15'[.\ ]* | *' 16'[.\ ]* | *' 17'[.\ ]*) return 0 ;; esac
    done
    return 1
}

have_nats() {
    have nats-server || return 1
    found=$(nats-server --version 2>/dev/null | sed -n 's/^nats-server: v\([0-9][0-9.]*\).*/\1/p')
    [ -n "$found" ] || return 1
    lowest=$(printf '%s\n%s\n' "$nats_minimum" "$found" | sort -t. -k1,1n -k2,2n -k3,3n | head -n 1)
    [ "$lowest" = "$nats_minimum" ]
}

venv_is_current() { cmp -s "$root/tests/requirements.txt" "$tools/venv/requirements.txt"; }

# --- Debian and Ubuntu -------------------------------------------------------------------------------------------

# Names what is missing, one word a line; "postgresql" stands for the version that install_packages finds out.
missing_packages() {
    if ! { have cc && [ -e /usr/include/stdlib.h ]; }; then echo gcc libc6-dev; fi
    have make || echo make
    have pkg-config || echo pkg-config
    have_postgres || echo postgresql
    have redis-server || have redis-check-rdb || echo redis-tools
    have_nats || [ -e "$debian_keyring" ] || echo debian-archive-keyring
    [ "$for_tests" = yes ] || return 0
    have ps || echo procps
    have pgbouncer || echo pgbouncer
    can_make_venv || echo python3 python3-venv
}

install_packages() {
    can_be_root || give_up "packages are missing, and this user may not install them. Run:
  sudo apt-get update && sudo apt-get install --no-install-recommends $*"
    say "installing $*"
    quietly apt_get update
    names=$(with_postgres_version "$@")
    trap restore_cluster_setting EXIT
    case " $* " in *' postgresql '*) shield_clusters ;; esac
    # shellcheck disable=SC2086 # a list of package names
    quietly apt_get -y --no-install-recommends install $names
    case " $* " in *' pgbouncer '*) silence_pgbouncer ;; esac
}

# Its package starts and enables a daemon; the tests start their own.
silence_pgbouncer() {
    if have systemctl; then as_root systemctl disable --now pgbouncer >/dev/null 2>&1 || true; fi
    if have service; then as_root service pgbouncer stop >/dev/null 2>&1 || true; fi
    if have update-rc.d; then as_root update-rc.d pgbouncer disable >/dev/null 2>&1 || true; fi
}

apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@"; }

with_postgres_version() {
    for package in "$@"; do
        [ "$package" != postgresql ] || package=$(postgres_package)
        echo "$package"
    done
}

postgres_package() {
    for version in 17 16 15; do
        if apt-cache show "postgresql-$version" >/dev/null 2>&1; then echo "postgresql-$version"; return; fi
    done
    give_up "this system packages no PostgreSQL between 15 and 17. Add the PostgreSQL project's own repository:
  https://www.postgresql.org/download/linux/ and install postgresql-17"
}

# Debian makes and starts a cluster when it installs a server. Ours are private, so that is turned off while
# installing; the administrator's setting is put back afterwards.
cluster_setting=/etc/postgresql-common/createcluster.conf

shield_clusters() {
    quietly apt_get -y --no-install-recommends install postgresql-common
    as_root cp -p "$cluster_setting" "$cluster_setting.counterfoil"
    printf 'create_main_cluster = false\n' | as_root tee "$cluster_setting" >/dev/null
}

restore_cluster_setting() {
    [ ! -e "$cluster_setting.counterfoil" ] || as_root mv -f "$cluster_setting.counterfoil" "$cluster_setting"
}

# The package redis-server adds a running, enabled daemon to the same binary that redis-tools has under another name
# (it decides by its name what it is), so the tools and a link are all that is needed.
link_redis_debian() {
    mkdir -p "$tools/bin"
    ln -sf "$(command -v redis-check-rdb)" "$tools/bin/redis-server"
    redis-server --version 2>/dev/null | grep -q '^Redis server' && return
    rm -f "$tools/bin/redis-server"
    give_up "redis-tools of this system has no server in it. Run: sudo apt-get install redis-server"
}

# Fetches Debian's nats-server with an apt of its own (own sources, lists and cache), so the system's stay as they are.
fetch_nats_debian() {
    private=$tools/apt
    rm -rf "$private"
    mkdir -p "$private/lists/partial" "$private/cache/archives/partial" "$private/unpacked" "$tools/bin"
    : >"$private/status"
    echo "deb [signed-by=$debian_keyring] $debian_mirror $debian_suite main" >"$private/sources.list"
    say "fetching nats-server from Debian $debian_suite into .counterfoil/tools"
    quietly apt_private "$private" update
    (cd "$private" && quietly apt_private "$private" download nats-server)
    quietly dpkg-deb -x "$private"/nats-server_*.deb "$private/unpacked"
    mv -f "$private/unpacked/usr/sbin/nats-server" "$tools/bin/nats-server" 2>/dev/null ||
        mv -f "$private/unpacked/usr/bin/nats-server" "$tools/bin/nats-server"
    rm -rf "$private"
    have_nats || give_up "the fetched $tools/bin/nats-server does not run here; install NATS $nats_minimum or newer
  from https://github.com/nats-io/nats-server/releases and put it on the PATH"
}

apt_private() {
    private_root=$1
    shift
    apt-get -qq -o Dir::Etc::sourcelist="$private_root/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
        -o Dir::State::lists="$private_root/lists" -o Dir::State::status="$private_root/status" \
        -o Dir::Cache="$private_root/cache" -o Acquire::Languages=none -o APT::Sandbox::User="$(id -un)" \
        -o APT::Get::AllowUnauthenticated=false "$@"
}

setup_debian() {
    missing=$(missing_packages)
    # shellcheck disable=SC2086 # a list of package names
    [ -z "$missing" ] || install_packages $missing
    have redis-server || link_redis_debian
    have_nats || fetch_nats_debian
}

# --- macOS -------------------------------------------------------------------------------------------------------

setup_macos() {
    have cc || give_up "a C compiler is missing. Run: xcode-select --install"
    wanted=
    have_postgres || wanted="$wanted postgresql@17"
    have redis-server || wanted="$wanted redis"
    have_nats || wanted="$wanted nats-server"
    [ "$for_tests" = no ] || have pgbouncer || wanted="$wanted pgbouncer"
    [ -n "$wanted" ] || return 0
    have brew || give_up "missing:$wanted. Install Homebrew (https://brew.sh), or these by hand, and run this again"
    say "installing$wanted"
    # shellcheck disable=SC2086 # a list of formula names
    quietly env HOMEBREW_NO_AUTO_UPDATE=1 brew install --quiet $wanted
}

# --- tests -------------------------------------------------------------------------------------------------------

can_make_venv() { venv_is_current || python3 -c 'import ensurepip, venv' 2>/dev/null; }

setup_tests() {
    ! venv_is_current || return 0
    can_make_venv || give_up "python3 with its venv module is missing; install Python 3.9 or newer"
    say "installing the tests' Python packages into .counterfoil/tools/venv"
    rm -rf "$tools/venv"
    quietly python3 -m venv "$tools/venv"
    # Wheels only: a package that would have to be compiled here is a wrong pin.
    quietly "$tools/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: \
        -r "$root/tests/requirements.txt"
    cp "$root/tests/requirements.txt" "$tools/venv/requirements.txt"
}

for_tests=no
for argument in "$@"; do
    case $argument in
    --tests) for_tests=yes ;;
    *) give_up "unknown argument $argument; known: --tests" ;;
    esac
done

case $(uname -s) in
Linux)
    if have apt-get; then
        setup_debian
    elif ! { have cc && have_postgres && have redis-server && have_nats; }; then
        give_up "this system has no apt; install a C compiler, PostgreSQL 15 to 17, Redis, and NATS $nats_minimum or newer"
    fi
    ;;
Darwin) setup_macos ;;
*) give_up "$(uname -s) is not supported; Linux and macOS are" ;;
esac
have cargo || [ -x "$HOME/.cargo/bin/cargo" ] || give_up "cargo is missing; install Rust from https://rustup.rs"
[ "$for_tests" = no ] || setup_tests
