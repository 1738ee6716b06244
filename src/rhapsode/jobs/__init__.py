"""Submit, schedule, run, watch and clean up jobs."""
