"""Word list, vocabulary and splits, and the tensors made of them."""
