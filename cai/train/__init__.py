"""Training on the data of a run: supervised fine-tuning, then preferences by DPO."""
