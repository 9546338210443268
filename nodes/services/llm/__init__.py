"""Language models behind one interface: adapters that speak a provider's protocol, and one vocabulary of errors."""
