"""What starts runs besides a hand: proofs and payloads of webhooks, and what is decided of them."""
