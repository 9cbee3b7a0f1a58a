# Everything there is to type. `make help` lists it.
DEMO := target/demo
DEMO_PSQL := PGSERVICEFILE=$(CURDIR)/$(DEMO)/services psql

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast conformance lint bench bench-pieces clean migrations \
	psql-veneer psql-veneer-admin psql-shard1 psql-shard2 psql-shard3 \
	show-logs-shard1 show-logs-shard2 show-logs-shard3

help:               ## this list
	@sed -nE 's/^([a-z0-9 -]+):[^#]*## (.*)/\1\t\2/p' Makefile | expand -t 56
setup:              ## install what is missing (PostgreSQL, the parser's build needs)
	@tests/setup.sh
demo: setup         ## three PostgreSQL shards, four tenants and veneer, until Ctrl-C
	@cargo run --quiet -- demo --dir $(DEMO)
test:               ## everything, from a cold checkout
	@tests/setup.sh tests && cargo test && python3 tests/conformance/run.py --short
test-fast:          ## what needs no PostgreSQL
	@cargo test --lib --bins
conformance:        ## real suites directly on PostgreSQL and through veneer
	@tests/setup.sh tests && cargo build --quiet && cargo build --quiet --release
	@python3 tests/conformance/run.py --write
lint:               ## formatting, clippy, dependencies
	@tests/lint.sh
bench:              ## direct, veneer, PgBouncer and postgres_fdw side by side (BENCH_ARGS=--help)
	@tests/setup.sh bench && cargo build --quiet --release
	@python3 benches/run.py $(BENCH_ARGS)
bench-pieces:       ## what each piece of a query's way costs (criterion)
	@cargo bench --bench pieces
clean:              ## remove what was built and the demo's data
	@tests/clean.sh $(DEMO)
migrations:         ## run migrations/tenant into every tenant of the demo
	@cargo run --quiet -- demo --dir $(DEMO) --migrate migrations/tenant
psql-veneer:        ## psql as veneer_app, through veneer
	@$(DEMO_PSQL) service=veneer
psql-veneer-admin:  ## psql as veneer_admin, through veneer
	@$(DEMO_PSQL) service=veneer-admin
psql-shard1 psql-shard2 psql-shard3: psql-%: ## psql on a shard itself
	@$(DEMO_PSQL) service=$*
show-logs-shard1 show-logs-shard2 show-logs-shard3: show-logs-%: ## what a shard was asked, and why
	@tests/show-logs.sh $(DEMO) $*
