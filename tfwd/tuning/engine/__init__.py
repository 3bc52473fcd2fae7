"""Which trial comes next and who runs it: KerasTuner, made durable."""
