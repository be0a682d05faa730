# The commands of a day's work, for https://just.systems. Each is one line that can be typed without just, too.

# Lists the recipes.
default:
    @just --list --unsorted

# Tests the session core: no Kafka, no C compiler, one to two minutes.
core:
    cargo test --package sundown-session

# Tests that need no Kafka: units and the tracker in a simulation.
quick:
    cargo test --lib
    cargo test --test simulation

# Integration tests on a real Kafka that the test starts, such as `just it pipeline::restarts`.
it *FILTER:
    cargo test --test it -- {{ FILTER }}

# Formats the sources.
format:
    cargo fmt --all

# Checks format, lints and language, without running the other tests.
check:
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets -- -D warnings
    cargo test --locked --test language --test architecture --test docs

# Everything that a pull request has to pass.
ci:
    .ci/run

# The whole pipeline in one process, with synthetic users.
demo *FLAGS:
    cargo run --release -- demo {{ FLAGS }}

# Starts a Kafka and prints its address; `just kafka down` stops it.
kafka COMMAND="up":
    tests/kafka/kafka {{ COMMAND }}

# Serves the docs as a site (https://rust-lang.github.io/mdBook, jq).
docs:
    mdbook serve

# Writes the generated page of commands and flags.
cli-page:
    UPDATE=1 cargo test --test cli_page

# Accepts changed snapshots of the chart; look at the diff afterwards.
snapshots:
    UPDATE=1 INSTA_UPDATE=always cargo test --test chart
