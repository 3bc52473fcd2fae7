"""What a search leaves behind: table, report, plots."""
