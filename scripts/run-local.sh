#!/bin/sh
# A pool here, with the settings of .env.
cd "$(dirname "$0")/.." && exec make run
