"""The work streams: take, hold, release, reclaim, settle."""
