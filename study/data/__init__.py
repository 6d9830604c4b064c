"""The word list, its vocabulary and its splits, and the tensors that are made of them."""
