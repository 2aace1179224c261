# What one does with Counterfoil's source tree. Every target sets up what it needs first (deploy/dev/setup.sh), so all
# of them work on a fresh Debian, Ubuntu or macOS with rustup's cargo.

SHELL := /bin/sh
# The set-up script puts what the system lacks here; rustup puts cargo there.
export PATH := $(CURDIR)/.counterfoil/tools/bin:$(PATH):$(HOME)/.cargo/bin

.PHONY: help demo test lint fmt openapi bench setup

help:
	@echo "make demo     build, start everything on private servers, run the story in fixtures/, and stay up;"
	@echo "              ADDRESS=127.0.0.1:8090 for another address, DATA=dir for another data directory"
	@echo "make test     all tests, against real Postgres, NATS and Redis"
	@echo "make lint     formatting and clippy, warnings are errors"
	@echo "make fmt      format the code"
	@echo "make openapi  write openapi.json anew from the code (it is checked in; CI compares)"
	@echo "make bench    the benchmarks beside peers, limits and budgets (docs/benchmarks.md); BENCH=\"--quick --only append\""
	@echo "make setup    only install what is missing (servers; never asks, leaves nothing running)"

demo:
	@deploy/dev/port-is-free.sh $(ADDRESS)
	@deploy/dev/setup.sh
	cargo build --release --locked
	@"$${CARGO_TARGET_DIR:-target}/release/counterfoil" up --demo $(if $(ADDRESS),--set 'http.address=$(ADDRESS)') $(if $(DATA),--data '$(DATA)')

test:
	@deploy/dev/setup.sh --tests
	cargo test --workspace --locked

lint:
	@deploy/dev/setup.sh
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

fmt:
	cargo fmt --all

openapi: setup
	cargo run --quiet --locked -- openapi > openapi.json.new
	mv openapi.json.new openapi.json

bench: setup
	cargo bench --locked --bench budgets -- $(BENCH)

setup:
	@deploy/dev/setup.sh
