"""Model and manifest -> report: metrics, intervals, tests, pool-matched recall.  Pure NumPy."""
