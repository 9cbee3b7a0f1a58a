#!/bin/sh
# What one shard was asked: veneer's own lines with its reasons, then the shard's log as it grows.
set -eu
demo=$1 shard=$2
echo "== what veneer sent to $shard, and why ($demo/veneer.log)"
grep -E "shard=\"?$shard\"?( |\$)" "$demo/veneer.log" 2>/dev/null || echo "(nothing yet)"
echo "== what $shard was asked; Ctrl-C ends"
exec tail -n 40 -F "$demo/clusters/$shard/postgresql.log"
