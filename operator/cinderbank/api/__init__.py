"""The Kubernetes API that users see: models of spec and status, and the CRDs made from them."""
