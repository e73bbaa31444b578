"""The Kubernetes API: objects, status, finalizer, Events, Secrets. The only door to its client."""
