"""What everything else stands on: errors, texts, secrets, random numbers."""
