#!/bin/sh
# What must hold before a change goes in, apart from the tests.
set -eu
cargo fmt --all --check
cargo clippy --quiet --all-targets -- --deny warnings
if command -v cargo-deny >/dev/null; then
    cargo deny --log-level error check bans licenses sources
    # The advisories are a repository of their own, which not every machine reaches.
    if cargo deny --log-level off fetch db; then
        cargo deny --log-level error check advisories
    else
        echo "note: the list of advisories cannot be fetched here: they were not checked" >&2
    fi
else
    echo "note: cargo-deny is not installed: advisories, licences and sources were not checked" >&2
fi
