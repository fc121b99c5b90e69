# A long-running program, whose folder the build argument PROGRAM names:
#   docker build -f deploy/images/connector.Dockerfile --build-arg PROGRAM=connectors/kafka -t ticktape/kafka-connector .
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

ARG PROGRAM
RUN test -n "${PROGRAM}" || { echo "say which program: --build-arg PROGRAM=connectors/kafka"; exit 1; }
COPY ${PROGRAM} ./${PROGRAM}
ARG VERSION=devel
ARG GIT_REVISION=unknown
RUN GOOS=${TARGETOS} GOARCH=${TARGETARCH} go build -trimpath -ldflags "-s -w -X ticktape/internal/service.version=${VERSION} -X ticktape/internal/service.revision=${GIT_REVISION}" -o /program ./${PROGRAM}

FROM scratch
ARG PROGRAM
ARG VERSION=devel
ARG GIT_REVISION=unknown
ARG SOURCE_URL=
LABEL org.opencontainers.image.title=ticktape/${PROGRAM} org.opencontainers.image.licenses=MIT org.opencontainers.image.source=${SOURCE_URL} \
      org.opencontainers.image.version=${VERSION} org.opencontainers.image.revision=${GIT_REVISION}
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /program /program
# The user that distroless images call nonroot. It owns nothing here.
USER 65532:65532
ENTRYPOINT ["/program"]
