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
RUN command -v cmake >/dev/null || { apt-get update && apt-get install -y --no-install-recommends cmake; }
WORKDIR /src
# The dependencies by themselves: this layer lasts for as long as they do.
COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
RUN mkdir -p src benches \
 && echo 'fn main() {}' | tee src/main.rs benches/core.rs benches/memory.rs benches/drain.rs >/dev/null \
 && touch src/lib.rs \
 && cargo build --release --locked --bin sundown
COPY src src
COPY templates templates
# Cargo goes by modification times, and those of the copies may be older.
RUN find src -name '*.rs' -exec touch {} + \
 && cargo build --release --locked --bin sundown
RUN mkdir -p /image/usr/bin /image/etc/ssl/certs /image/tmp \
 && cp target/release/sundown /image/usr/bin/sundown \
 && strip /image/usr/bin/sundown \
 && ldd /image/usr/bin/sundown | grep -o '/[^ ]*' | xargs -I{} cp --parents -L {} /image \
 && cp -L /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
 && echo 'sundown:x:65532:65532::/:/sbin/nologin' > /image/etc/passwd

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
