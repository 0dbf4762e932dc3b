"""The ten coding tools, one module each; ``base`` has what they share."""
