"""Many models: searches from many starts, sweeps over many settings."""
