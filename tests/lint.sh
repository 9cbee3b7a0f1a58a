#!/bin/sh
# What must hold before a change goes in, apart from the tests.
set -eu
cargo fmt --all --check
cargo clippy --quiet --all-targets -- --deny warnings
if command -v cargo-deny >/dev/null; then
    cargo deny --log-level error check bans licenses sources
    # The advisories are a repository of their own, which not every machine reaches.
    cargo deny --log-level error check advisories ||
        echo "note: the advisories were not checked, or there are some: see above" >&2
else
    echo "note: cargo-deny is not installed: advisories, licences and sources were not checked" >&2
fi
