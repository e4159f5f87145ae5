"""What an instructor takes away from a graded class; every file is made of the rows of `results.jsonl`."""
