"""Figures as themed SVG."""
