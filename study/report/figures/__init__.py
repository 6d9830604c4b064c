"""The figures of the report, drawn as themed SVG."""
