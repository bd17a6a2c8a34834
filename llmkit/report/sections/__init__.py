"""What a report says, one file for each subject. A section that a run has nothing for is left out."""
