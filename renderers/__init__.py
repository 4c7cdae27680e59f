"""Renderers: turns are laid out on pages, and pages drawn at every size."""
