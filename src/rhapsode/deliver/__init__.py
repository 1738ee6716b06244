"""Takes to finished files and live streams."""
