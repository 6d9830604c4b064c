"""The cells and stacks of a study, and the two engines that train them."""
