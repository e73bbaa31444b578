"""`make demo`: the main job on real parts, shown as it goes."""
