"""From predictions to scores, intervals and paired tests: numpy only, no images, no model, no torch."""
