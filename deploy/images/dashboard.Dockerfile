# The dashboard: Node.js builds the page, Go the service that has it embedded.
#   docker build -f deploy/images/dashboard.Dockerfile -t ticktape/dashboard .
#
# Both run on the machine that builds ("linux", where the classic builder does not
# say which that is); Go compiles for the platform that is asked for.
ARG GO_VERSION=1.26
ARG NODE_VERSION=22
FROM --platform=${BUILDPLATFORM:-linux} node:${NODE_VERSION}-slim AS page

ARG NPM_CONFIG_REGISTRY
WORKDIR /web
COPY dashboard/web/package.json dashboard/web/package-lock.json dashboard/web/.npmrc ./
RUN npm ci --no-audit --no-fund --loglevel=error
COPY dashboard/web ./
RUN npm run build

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

COPY dashboard ./dashboard
COPY --from=page /web/dist ./dashboard/web/dist
ARG VERSION=devel
ARG GIT_REVISION=unknown
RUN GOOS=${TARGETOS} GOARCH=${TARGETARCH} go build -trimpath -ldflags "-s -w -X ticktape/internal/service.version=${VERSION} -X ticktape/internal/service.revision=${GIT_REVISION}" -o /program ./dashboard

FROM scratch
ARG VERSION=devel
ARG GIT_REVISION=unknown
ARG SOURCE_URL=
LABEL org.opencontainers.image.title=ticktape/dashboard org.opencontainers.image.licenses=MIT org.opencontainers.image.source=${SOURCE_URL} \
      org.opencontainers.image.version=${VERSION} org.opencontainers.image.revision=${GIT_REVISION}
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /program /program
# The user that distroless images call nonroot. It owns nothing here.
USER 65532:65532
EXPOSE 8090
ENTRYPOINT ["/program"]
