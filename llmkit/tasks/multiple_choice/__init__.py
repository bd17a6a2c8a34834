"""The right one of several choices, for a question, a context or both."""
