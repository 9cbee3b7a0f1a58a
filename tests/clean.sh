#!/bin/sh
# Removes what was built and the demo's data, wherever it lives.
set -eu
demo=$1
if [ -e "$demo/lock" ] && command -v flock >/dev/null && ! flock --nonblock "$demo/lock" true; then
    echo "A demo is running in $demo: stop it with Ctrl-C first" >&2
    exit 1
fi
# Root's directories may be closed to PostgreSQL's account: then the demo's data is in /tmp.
case $(readlink "$demo/clusters" || true) in
    */veneer-demo-*) rm -rf "$(readlink "$demo/clusters")" ;;
esac
rm -rf "$demo"
cargo clean
