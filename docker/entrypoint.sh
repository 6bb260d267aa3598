#!/bin/sh
# Prepares what MESS_PLUGINS and PRELOAD_SCRIPT ask for, then becomes mess, which handles the container's signals itself.
set -eu

# A shell that is process 1 ignores SIGTERM, and runs a trap only between commands: so what takes long runs beside it.
interruptible() {
    "$@" &
    child=$!
    trap 'kill "$child" 2>/dev/null; exit 143' TERM INT
    status=0
    wait "$child" || status=$?
    trap - TERM INT
    return "$status"
}

# Indexes of packages are often named with a token in the url, which neither the log nor the volume is to hold.
hide=$(dirname "$0")/hide.py

install_plugins() {
    home=${MESS_PLUGINS_DIR:-/app/plugins}
    constraints=${MESS_CONSTRAINTS:-/opt/mess/constraints.txt} # what MESS itself is made of: plugins must agree with it
    # What this volume holds is good for as long as the list, the Python and MESS's own packages stay the same.
    wanted=$({ printf '%s\n' "$MESS_PLUGINS"; python -V; cat "$constraints"; } | sha256sum)
    if [ "$(cat "$home/packages/.wanted" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    echo "installing plugins: $MESS_PLUGINS" | python "$hide"
    if ! mkdir -p "$home" || ! [ -w "$home" ]; then
        echo "MESS_PLUGINS needs a volume at $home that user $(id -u) may write to" >&2
        return 1
    fi
    rm -rf "$home/new" "$home/tmp"
    mkdir "$home/new" "$home/tmp"
    # Split into words on purpose; a package's extras or markers must not be taken for file patterns.
    set -f
    # shellcheck disable=SC2086
    interruptible env TMPDIR="$home/tmp" python "$hide" pip install --quiet --disable-pip-version-check --no-cache-dir \
        --root-user-action ignore --constraint "$constraints" --target "$home/new" $MESS_PLUGINS || return 1
    set +f
    printf '%s\n' "$wanted" >"$home/new/.wanted"
    rm -rf "$home/packages" "$home/tmp"
    mv "$home/new" "$home/packages"
}

if [ -n "${MESS_PLUGINS:-}" ]; then
    install_plugins || { echo "MESS_PLUGINS could not be installed: $MESS_PLUGINS" | python "$hide"; exit 1; }
fi

if [ -n "${PRELOAD_SCRIPT:-}" ]; then
    interruptible sh -c "$PRELOAD_SCRIPT" || { echo "PRELOAD_SCRIPT failed with status $?" >&2; exit 1; }
fi

exec mess "$@"
