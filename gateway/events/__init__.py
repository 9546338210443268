"""The run event log: what happened in a run, numbered, durable, and told to everyone who watches."""
