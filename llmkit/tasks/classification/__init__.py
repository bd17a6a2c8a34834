"""Labels or a number for texts and pairs of texts."""
