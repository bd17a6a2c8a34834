"""The correct choice of several, for a question, a context or both."""
