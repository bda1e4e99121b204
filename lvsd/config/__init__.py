"""The configuration language: text in, `lvsd.core.model.Config` out."""
