"""The durable record of jobs, segments, takes and events."""
