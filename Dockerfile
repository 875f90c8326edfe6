# Build a static binary.
FROM golang:1.26-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -o /out/rowfall ./cmd/rowfall

# The image adds the binary and a user to Alpine. The node's data belong in the volume /data.
FROM alpine:3
RUN adduser -D -H rowfall && mkdir /data && chown rowfall /data
COPY --from=build /out/rowfall /usr/local/bin/rowfall
USER rowfall
VOLUME /data
ENTRYPOINT ["rowfall"]
