"""The reach of the limiter: numbers that those who lay out sound need, without what computes it. Pure."""

HOP = 48  # samples
REACH = 20  # hops over which the gain falls, and rises again
CONTEXT = (REACH + 2) * HOP  # samples on each side that a sample depends on
