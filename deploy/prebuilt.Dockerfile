# The image of weir of a binary that is there, without a network: "make image" lays
# out the files in bin/image and builds it. deploy/Dockerfile makes the same image
# of the source.
FROM scratch
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="weir" \
      org.opencontainers.image.description="Turns events into conversations at a voice-AI provider, at exactly the rate that it takes" \
      org.opencontainers.image.source="https://github.com/weirhq/weir" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY root/ /
COPY --chown=65532:65532 data/ /
ENV WEIR_CONFIG=/etc/weir/weir.yaml
USER 65532:65532
WORKDIR /var/lib/weir
VOLUME /var/lib/weir
EXPOSE 8090 8091 8092
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["/weir", "health"]
ENTRYPOINT ["/weir"]
CMD ["serve"]
