"""A recipe and labelled images give a trained network."""
