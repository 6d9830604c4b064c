"""Cells and stacks, and the two engines that train them."""
