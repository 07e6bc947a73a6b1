"""From rows to a trained model: export, DPO training, and how the model does afterwards."""
