"""Two sites at work in one bank for as long as one likes, and an audit of what they left."""
