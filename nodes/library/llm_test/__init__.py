"""Direct calls of OpenAI-compatible servers, with the endpoint wired in the graph."""
