"""The notebooks of conditions: their content, their execution, and their names."""
