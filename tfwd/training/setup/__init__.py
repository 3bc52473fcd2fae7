"""What a run is made of: its model, its optimizer and its data."""
