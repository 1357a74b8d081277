"""Public HTTP endpoints, which are also the tools of the MCP server."""
