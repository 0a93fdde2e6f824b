"""What all other packages use: errors, texts, credentials, random numbers."""
