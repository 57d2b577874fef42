# The image of keyorch: one static program, the authorities of public servers, and
# nothing else: no shell, no package, no root. Build it from a checkout:
#
#   docker build --build-arg VERSION=$(git describe --tags --always) -t keyorch .
#
# To pin the compiler's image, give it with its digest:
#   --build-arg GO_IMAGE=docker.io/library/golang:1.26.8-bookworm@sha256:…
ARG GO_IMAGE=docker.io/library/golang:1.26.8-bookworm

FROM ${GO_IMAGE} AS build
ARG VERSION=dev
ARG TARGETOS=linux
ARG TARGETARCH=amd64
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/keyorch ./cmd/keyorch

FROM scratch
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="keyorch" \
      org.opencontainers.image.description="Rotates the keys of network links in stages, without losing a packet" \
      org.opencontainers.image.source="https://github.com/keyorch/keyorch" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY LICENSE NOTICE /usr/share/doc/keyorch/
COPY --from=build /out/keyorch /usr/bin/keyorch
ENV PATH=/usr/bin
USER 65532:65532
ENTRYPOINT ["/usr/bin/keyorch"]
