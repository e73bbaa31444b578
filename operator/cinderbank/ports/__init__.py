"""What the engine needs of the world, as Protocols in our own facts; the promises stand here."""
