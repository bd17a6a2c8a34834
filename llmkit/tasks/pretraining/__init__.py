"""Language models from raw text: causal, masked, and span corruption."""
