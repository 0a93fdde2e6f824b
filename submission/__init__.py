"""The competition: the format of `images.zip`, submissions, ledger and leaderboard."""
