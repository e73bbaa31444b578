"""From the Kubernetes API to the engine and back: what is watched, queued, built and asked for."""
