# The images catalog-raft, order and frontend, one a target: docker build --target order .
#
# BUILDER compiles the programs, untrained, and lays out what they need (.ci/image-root): any image with Rust 1.88 and apt-get. A context
# that brings `image/` laid out, as `make images` makes one where no registry can be reached, is taken as it is, and any
# image with a shell will do as BUILDER. RUNTIME is what the images add to: nothing by default.
ARG BUILDER=rust:1-bookworm
ARG RUNTIME=scratch

FROM ${BUILDER} AS build
WORKDIR /src
COPY . .
RUN [ -d image ] || { .ci/tools && CARGO_TARGET_DIR=/target PGO=no .ci/build /built --profile dist \
    && .ci/image-root /built image; }

FROM ${RUNTIME} AS base
COPY --from=build /src/image/base/ /
# A volume that is mounted here for the first time takes over its owner.
COPY --from=build --chown=65532:65532 /src/image/data/ /var/lib/catalog-store/
# The layout is mounted at this path; the instance says which of its kind a container is.
ENV CATALOG_STORE_CONFIG=/etc/catalog-store/layout.toml \
    CATALOG_STORE_INSTANCE=1 \
    CATALOG_STORE_RUN_DIR=/var/lib/catalog-store
USER 65532:65532
VOLUME /var/lib/catalog-store

FROM base AS catalog-raft
COPY --from=build /src/image/programs/catalog-raft /usr/local/bin/
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s CMD ["catalog-raft", "--check"]
ENTRYPOINT ["catalog-raft", "--log-stderr"]
EXPOSE 50001 51001

FROM base AS order
COPY --from=build /src/image/programs/order /usr/local/bin/
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s CMD ["order", "--check"]
ENTRYPOINT ["order", "--log-stderr"]
EXPOSE 35301

FROM base AS frontend
COPY --from=build /src/image/programs/frontend /usr/local/bin/
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s CMD ["frontend", "--check"]
ENTRYPOINT ["frontend", "--log-stderr"]
EXPOSE 35303
