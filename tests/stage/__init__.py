"""What the demo and the end-to-end tests are played with: a cloud, a namespace, an operator."""
