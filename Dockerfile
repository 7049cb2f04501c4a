# docker build -t headcount:0.1.0 .
#
# The binary depends only on glibc. A static build with musl would be slower than the
# figures in BENCHMARKS.md, because of musl's allocator.
FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin headcount \
    && install -s target/release/headcount /headcount

# The same Debian release, without a shell. The user is 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /headcount /usr/local/bin/headcount
# gRPC; metrics and health; the Kubernetes API.
EXPOSE 7100 7101 7102
ENTRYPOINT ["/usr/local/bin/headcount"]
