"""A text for a text: summarization, translation and text-to-text."""
