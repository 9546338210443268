"""What nodes may use of the world outside their inputs: protocols in `nodes.node`, back ends here."""
