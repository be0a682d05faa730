# What builds the project's image where no image with Rust can be pulled: Debian with a C toolchain.
# The machine's own Rust is mounted, and what it has built may be (see `images`): of zlib, which librdkafka
# takes from the system if it is there.
ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates cmake g++ gcc libc6-dev make perl zlib1g-dev \
 && rm -rf /var/lib/apt/lists/*
ENV PATH=/rust/toolchain/bin:$PATH
