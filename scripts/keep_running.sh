# Sourced by scripts/run and scripts/run_chroot.
# shellcheck shell=bash

# Prints the etracker command to run: $ETRACKER_COMMAND, or what was built last in this folder.
find_command() {
    local root=$1
    local command=${ETRACKER_COMMAND:-$root/target/release/etracker}
    if [ ! -x "$command" ]; then
        echo "$0: there is no $command: build it by 'cargo build --release' first" >&2
        return 1
    fi
    echo "$command"
}

# Fails unless $1 is a port; the command checks the rest.
check_port() {
    if ! [[ ${1:-} =~ ^[0-9]+$ ]]; then
        echo "usage: $0 PORT [OPTION...]" >&2
        return 2
    fi
}

# Runs a command and starts it again, a second later, whenever it fails. Tells it how often that was through
# ETRACKER_FAILURES. Ends with the command: on a clean exit, on options that it refuses (status 2, which no restart
# mends), and when a signal has stopped it. SIGINT and SIGTERM stop it; SIGHUP, SIGUSR1 and SIGUSR2 are passed on.
keep_running() {
    local child='' stopping='' passed='' interrupted='' status=0 failures=0
    # Gives each command a process group of its own: Ctrl-C reaches it once, from here, and not from the terminal too.
    set -m
    trap 'stopping=1; pass TERM' INT TERM
    trap 'pass HUP' HUP
    trap 'pass USR1' USR1
    trap 'pass USR2' USR2
    while [ -z "$stopping" ]; do
        run_once "$@"
        if [ "$status" -eq 0 ] || [ "$status" -eq 2 ] || [ -n "$stopping" ]; then
            break
        fi
        failures=$((failures + 1))
        echo "$0: exit status $status, failure $failures: starting again" >&2
        sleep 1 >/dev/null 2>&1 &
        wait $! || true
    done
    trap - INT TERM HUP USR1 USR2
    return "$status"
}

# Runs the command to its end, however many signals come meanwhile, and keeps its status.
run_once() {
    passed=''
    ETRACKER_FAILURES=$failures "$@" &
    child=$!
    # A signal that came before there was a child to pass it to.
    if [ -n "$stopping" ] && [ -z "$passed" ]; then
        pass TERM
    fi
    while
        interrupted=''
        status=0
        wait "$child" || status=$?
        [ -n "$interrupted" ]
    do :; done
    child=''
}

# Sends a signal to the child, if there is one.
pass() {
    interrupted=1
    if [ -n "$child" ] && kill -s "$1" -- "$child" 2>/dev/null; then
        passed=1
    fi
}
