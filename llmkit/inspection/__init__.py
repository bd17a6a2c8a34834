"""A look at the data before training: checks of its rows, and examples as the model gets them."""
