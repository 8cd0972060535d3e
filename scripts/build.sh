#!/bin/sh
# The wheel and the source archive; `build.sh all`: the container image too.
cd "$(dirname "$0")/.." && exec make build $([ "${1-}" = all ] && echo docker-build)
