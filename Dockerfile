# fieldmark as one static program, without a shell or a system around it.
#
#   docker build --tag fieldmark .
#   docker run --rm --volume "$PWD:/data" --volume "$HOME/.cache/huggingface:/cache" fieldmark localize "bird" photo.jpg
#
# The release workflow puts the programs that it has built and tested in the place of the stage `build`.

FROM rust:1-alpine AS build
ARG TARGETARCH
RUN apk add --no-cache musl-dev
WORKDIR /source
COPY . .
RUN cargo build --release --locked --bin fieldmark \
    && mkdir -p "/out/${TARGETARCH}" \
    && cp target/release/fieldmark "/out/${TARGETARCH}/"

FROM gcr.io/distroless/static-debian12:nonroot
ARG TARGETARCH
COPY --from=build "/out/${TARGETARCH}/fieldmark" /usr/local/bin/fieldmark
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/fieldmark/
# Checkpoints go to the cache that Python's libraries share; mount one to keep them.
ENV HF_HOME=/cache
WORKDIR /data
ENTRYPOINT ["/usr/local/bin/fieldmark"]
