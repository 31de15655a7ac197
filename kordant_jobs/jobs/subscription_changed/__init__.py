"""Updates a subscription's schedule after it changed."""
