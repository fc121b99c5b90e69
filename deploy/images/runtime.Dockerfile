# The functions behind the one-machine provider (deploy/local), for those who have
# docker and no OpenFaaS: compose.yaml runs it.
#   docker build -f deploy/images/runtime.Dockerfile -t ticktape/runtime .
#
# The compiler runs on the machine that builds ("linux", where the classic builder
# does not say which that is) and compiles for the platform that is asked for.
ARG GO_VERSION=1.26
FROM --platform=${BUILDPLATFORM:-linux} golang:${GO_VERSION} AS build

ARG GOPROXY
ARG GOFLAGS
ENV CGO_ENABLED=0

# These steps are the same for every image here, which share what they compile.
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
ARG TARGETOS
ARG TARGETARCH
COPY internal ./internal
RUN GOOS=${TARGETOS} GOARCH=${TARGETARCH} go build -trimpath ./internal/...

COPY deploy/local ./deploy/local
COPY template ./template
COPY functions ./functions
COPY stack.yml ./
ARG VERSION=devel
ARG GIT_REVISION=unknown
# The first is for the machine that builds, and builds the rest.
RUN go build -o /builder ./deploy/local
RUN GOOS=${TARGETOS} GOARCH=${TARGETARCH} TICKTAPE_BIN=/ticktape/programs /builder programs \
    -ldflags "-s -w -X ticktape/internal/service.version=${VERSION} -X ticktape/internal/service.revision=${GIT_REVISION}" && \
    mv /ticktape/programs/local /ticktape/local && rm /ticktape/programs/functions/*.overlay.json && cp go.mod stack.yml /ticktape/ && \
    mkdir -p /volumes/var/lib/ticktape/functions/secrets /volumes/run/ticktape && chmod 700 /volumes/var/lib/ticktape/functions/secrets

FROM scratch
ARG VERSION=devel
ARG GIT_REVISION=unknown
ARG SOURCE_URL=
LABEL org.opencontainers.image.title=ticktape/runtime org.opencontainers.image.licenses=MIT org.opencontainers.image.source=${SOURCE_URL} \
      org.opencontainers.image.version=${VERSION} org.opencontainers.image.revision=${GIT_REVISION}
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /ticktape /ticktape
# A volume that is empty takes its owner from here.
COPY --from=build --chown=65532:65532 /volumes /
# The user that distroless images call nonroot.
USER 65532:65532
WORKDIR /ticktape
ENV TICKTAPE_DIR=/var/lib/ticktape TICKTAPE_BIN=/ticktape/programs FUNCTIONS_HOST=0.0.0.0
EXPOSE 8080
ENTRYPOINT ["/ticktape/local"]
CMD ["functions"]
