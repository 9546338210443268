"""What starts runs besides a hand. So far the pure part of webhooks: proofs, signatures and payloads."""
