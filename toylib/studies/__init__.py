"""What a few chapters share."""
