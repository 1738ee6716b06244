"""Samples in, samples or bytes out."""
