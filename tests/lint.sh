#!/bin/sh
# What must hold before a change goes in, apart from the tests.
set -eu
cargo fmt --all --check
cargo clippy --quiet --all-targets -- --deny warnings
if command -v cargo-deny >/dev/null; then
    cargo deny --log-level error check
else
    echo "note: cargo-deny is not installed: advisories, licences and sources were not checked" >&2
fi
