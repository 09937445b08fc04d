"""Writes docs/embedded-model.md from what was made and measured."""
