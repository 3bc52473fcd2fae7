"""What is searched: values, what follows from them, the cells."""
