"""What a search leaves behind: table, report, pictures."""
