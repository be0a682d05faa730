# The image of every role: one static-as-can-be binary, the libraries that it needs, the
# authorities of the system. No shell, no package manager, not root.
#
#   docker build -t sundown .
#   buildah bud -t sundown .
#
# The build image needs Rust, a C compiler, cmake and perl; another one, or a mirror of this
# one, goes in with --build-arg BUILD_IMAGE=…
ARG BUILD_IMAGE=rust:1.95-bookworm

FROM ${BUILD_IMAGE} AS build
# The toolchain of the image is the one that builds: rust-toolchain.toml is not copied, for it
# would have rustup fetch another one, with lints and formatter.
ARG RUSTUP_TOOLCHAIN=1.95.0
# `dist` is what is shipped; `dev` builds in a fraction of the time, for trying things.
ARG PROFILE=dist
# For builders that have Cargo's folders mounted from elsewhere, as tests/cluster/images has.
ARG CARGO_HOME
ARG CARGO_TARGET_DIR=/src/target
RUN command -v cmake >/dev/null || { apt-get update && apt-get install -y --no-install-recommends cmake; }
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY crates crates
COPY src src
COPY templates templates
# A cache mount keeps build results, so that a change of the sources builds only the sources. Cargo
# compares modification times, and those of the copies may be older than the cached results.
RUN --mount=type=cache,target=/src/target \
    --mount=type=cache,target=/usr/local/cargo/registry \
    find src crates templates -type f -exec touch {} + \
 && cargo build --profile "${PROFILE}" --locked --bin sundown \
 && mkdir -p /image/usr/bin /image/etc/ssl/certs /image/tmp \
 && folder=$(test "${PROFILE}" = dev && echo debug || echo "${PROFILE}") \
 && strip -o /image/usr/bin/sundown "${CARGO_TARGET_DIR}/${folder}/sundown"
RUN ldd /image/usr/bin/sundown | grep -o '/[^ ]*' | xargs -I{} cp --parents -L {} /image \
 && cp -L /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
 && echo 'sundown:x:65532:65532::/:/sbin/nologin' > /image/etc/passwd \
 && chmod 1777 /image/tmp

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
# No date of building: the same sources make the same image.
LABEL org.opencontainers.image.title="sundown" \
      org.opencontainers.image.description="Kafka-native session lifecycle for Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image /
USER 65532:65532
ENTRYPOINT ["/usr/bin/sundown"]
