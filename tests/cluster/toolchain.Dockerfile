# What builds the project's image where no image with Rust can be pulled: Debian with a C toolchain.
# The machine's own Rust is mounted (see `images`).
ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates cmake g++ gcc libc6-dev make perl \
 && rm -rf /var/lib/apt/lists/*
ENV CARGO_HOME=/rust/cargo PATH=/rust/toolchain/bin:$PATH
