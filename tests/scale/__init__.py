"""What a lot of something costs, measured on the rig by hand; nothing here asserts a time."""
