"""The speed of this machine, and what is promised of it: training, generating, scoring, checks.

What the commands of `make bench` and a kernel of task `bench` have in common. Each measurement is
beside a plain baseline in the same run, in turn.
"""
