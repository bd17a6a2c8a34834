"""Answers in conversations."""
