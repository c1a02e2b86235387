"""Forces: terms added to the prediction (score space)."""
