-- Layouts in which runs are stored: what is kept in a newer one than this program reads waits for a worker that does.

local newest_layout = 1 -- that this program reads; no constant, so that a test can be a newer one
