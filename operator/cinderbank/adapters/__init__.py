"""The SDKs, one door each; every error is mapped here, once."""
