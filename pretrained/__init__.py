"""Generators that come with painter, a folder each; `painter generate --model NAME`."""
